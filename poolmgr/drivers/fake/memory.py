"""A fake cloud in memory."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, Protocol, TypeVar

from poolmgr.drivers.base import FloatingIP
from poolmgr.drivers.fake.store import StoredDevice, Table
from poolmgr.identity import Mark


class _Row(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def mark(self) -> Mark | None: ...


RowT = TypeVar("RowT", bound=_Row)


class Memory:
    """Keeps it in dictionaries; see :class:`~.store.Store`."""

    def __init__(self) -> None:
        self._devices: _Rows[StoredDevice] = _Rows(
            {"name": lambda device: device.name}
        )
        self._ips: _Rows[FloatingIP] = _Rows(
            {"device_id": lambda ip: ip.device_id}
        )
        self._next: dict[str, int] = {}

    def transaction(self) -> AbstractContextManager[object]:
        """It is called by one thread at a time."""
        return nullcontext()

    def close(self) -> None:
        """Forget everything."""
        self.__init__()  # type: ignore[misc]

    def count(self, table: Table) -> int:
        """See :meth:`Store.count`."""
        return len(self._devices if table == "device" else self._ips)

    def next_number(self, name: str) -> int:
        """See :meth:`Store.next_number`."""
        return self._next.get(name, 0)

    def set_next_number(self, name: str, number: int) -> None:
        """See :meth:`Store.set_next_number`."""
        self._next[name] = number

    def add_device(self, device: StoredDevice) -> bool:
        """See :meth:`Store.add_device`."""
        return self._devices.add(device)

    def devices(
        self, column: str = "", value: str = ""
    ) -> Sequence[StoredDevice]:
        """See :meth:`Store.devices`."""
        return self._devices.where(column, value)

    def devices_of(self, ids: Collection[str]) -> Sequence[StoredDevice]:
        """See :meth:`Store.devices_of`."""
        return [
            device for id_ in ids for device in self._devices.where("id", id_)
        ]

    def mark_device(self, id: str, mark: Mark) -> None:
        """See :meth:`Store.mark_device`."""
        for device in self._devices.where("id", id):
            self._devices.put(dataclasses.replace(device, mark=mark))

    def delete_device(self, id: str) -> None:
        """See :meth:`Store.delete_device`."""
        for ip in self._ips.where("device_id", id):
            self.change_ip(ip, None, ip.mark)
        self._devices.drop(id)

    def add_ip(self, ip: FloatingIP) -> bool:
        """See :meth:`Store.add_ip`."""
        return self._ips.add(ip)

    def ips(self, column: str = "", value: str = "") -> Sequence[FloatingIP]:
        """See :meth:`Store.ips`."""
        return self._ips.where(column, value)

    def change_ip(
        self, ip: FloatingIP, device_id: str | None, mark: Mark | None
    ) -> bool:
        """See :meth:`Store.change_ip`."""
        for present in self._ips.where("id", ip.id):
            if present.revision == ip.revision:
                self._ips.put(
                    FloatingIP(
                        ip.id,
                        ip.address,
                        device_id,
                        ip.revision + 1,
                        mark,
                        ip.created,
                    )
                )
                return True
        return False

    def delete_ip(self, id: str) -> None:
        """See :meth:`Store.delete_ip`."""
        self._ips.drop(id)


class _Rows(Generic[RowT]):
    """Rows, the oldest first, found by what they have in some columns.

    :param columns: what can be asked for besides id, address and job
    """

    def __init__(
        self, columns: Mapping[str, Callable[[RowT], str | None]]
    ) -> None:
        self._rows: dict[str, RowT] = {}
        self._addresses: dict[str, str] = {}
        self._columns: dict[str, Callable[[RowT], str | None]] = {
            "job": lambda row: row.mark.unique if row.mark else None,
            **columns,
        }
        self._ids: dict[str, dict[str, dict[str, None]]] = {
            column: {} for column in self._columns
        }

    def __len__(self) -> int:
        return len(self._rows)

    def where(self, column: str, value: str) -> list[RowT]:
        """Those that have the value in the column; all, if that is empty."""
        if not column:
            return list(self._rows.values())
        if column == "id":
            ids = [value] if value in self._rows else []
        elif column == "address":
            ids = [self._addresses[value]] if value in self._addresses else []
        else:
            ids = list(self._ids[column].get(value, ()))
        return [self._rows[id_] for id_ in ids]

    def add(self, row: RowT) -> bool:
        """Keep a new row; False if another has its address."""
        if row.address in self._addresses:
            return False
        self._addresses[row.address] = row.id
        self.put(row)
        return True

    def put(self, row: RowT) -> None:
        """Keep a row in the place of the one with its id."""
        before = self._rows.get(row.id)
        self._rows[row.id] = row
        for column, value_of in self._columns.items():
            value = value_of(row)
            old = None if before is None else value_of(before)
            if value != old:
                self._unlist(column, old, row.id)
                if value is not None:
                    self._ids[column].setdefault(value, {})[row.id] = None

    def drop(self, id: str) -> None:
        """Forget a row, if it is there."""
        row = self._rows.pop(id, None)
        if row is not None:
            del self._addresses[row.address]
            for column, value_of in self._columns.items():
                self._unlist(column, value_of(row), id)

    def _unlist(self, column: str, value: str | None, id: str) -> None:
        if value is not None:
            ids = self._ids[column][value]
            del ids[id]
            if not ids:
                del self._ids[column][value]
