"""How an action describes the thing that it makes."""

import abc
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

from poolmgr.actions.base import Action, Context, RequestT
from poolmgr.errors import PoolmgrError
from poolmgr.ownership import Mark


class Thing(Protocol):
    """What an action makes."""

    @property
    def id(self) -> str:
        """The cloud's own id."""

    @property
    def mark(self) -> Mark | None:
        """What poolmgr wrote on it."""


ThingT = TypeVar("ThingT", bound=Thing)


class ThingAction(Action[RequestT], Generic[RequestT, ThingT]):
    """An action that says what it makes, and how that is marked and deleted.

    The methods from :meth:`wait_ready` on have defaults.

    :ivar context: what it was given to run
    """

    context: Context

    @abc.abstractmethod
    async def create(self, request: RequestT) -> ThingT:
        """Make the thing, with ``self.context.new_mark()`` on
        it from birth.

        It need not be ready.
        """

    @abc.abstractmethod
    async def find_of_job(self) -> Sequence[ThingT]:
        """List the things whose mark has the unique of the job."""

    @abc.abstractmethod
    async def reread(self, thing: ThingT) -> ThingT | None:
        """Return the thing as it is now, None if it is gone."""

    @abc.abstractmethod
    async def write_mark(self, thing: ThingT, mark: Mark) -> None:
        """Write another mark on the thing.

        :raises Changed: somebody else has written one since the thing was
            read
        """

    @abc.abstractmethod
    async def delete(self, thing: ThingT) -> None:
        """Delete the thing and wait until it is gone."""

    @abc.abstractmethod
    def answer(self, thing: ThingT) -> dict[str, Any]:
        """Return the fields that the action adds to the answer."""

    @abc.abstractmethod
    def name(self, thing: ThingT) -> str:
        """Name a thing, for the log: "device 'x'"."""

    async def wait_ready(self, thing: ThingT) -> ThingT:
        """Wait until the thing can be handed over.

        :returns: the thing as it is then
        :raises DeviceFailed: it will not be ready
        """
        return thing

    async def take_over(self, thing: ThingT) -> tuple[ThingT, Mark]:
        """Make what an earlier delivery left this delivery's own.

        :returns: the thing, and the mark to hand it over with
        :raises DeviceFailed: it is of no use; another is made then
        """
        mark = thing.mark or self.context.new_mark()
        return thing, mark.taken_over_by(self.context.job)

    def rank(self, thing: ThingT) -> Any:
        """Sort what was left; the least is taken over.

        One that was handed over goes first: its worker may have been deleting
        the others.
        """
        return thing.mark is not None and thing.mark.is_left

    def is_spare(self, thing: ThingT, before: Mark | None) -> bool:
        """Whether a thing of the job can be deleted once another is answered.

        :param before: its mark when this delivery began
        """
        return self.context.is_spare(thing.mark, before)

    def not_deleted(
        self, thing: ThingT, cause: BaseException, why: PoolmgrError
    ) -> PoolmgrError | None:
        """Return what to raise for a thing that could not be deleted.

        :param cause: why it was to be deleted
        :param why: why that failed
        :returns: None to have it logged, and the cause raised
        """
        return None
