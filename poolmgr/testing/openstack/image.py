"""Image, as Glance is."""

from http import HTTPStatus
from urllib.parse import urlencode

from poolmgr.testing.openstack.errors import Refused
from poolmgr.testing.openstack.service import (
    Answer,
    Handler,
    Json,
    Request,
    Service,
    page,
)
from poolmgr.testing.openstack.state import State


class Image(Service):
    """The images."""

    name, prefix, version = "image", "/image", "/v2"

    def __init__(self, state: State) -> None:
        super().__init__()
        self._state = state

    def routes(self) -> list[tuple[str, str, Handler]]:
        """See :meth:`Service.routes`."""
        return [
            ("GET", "/images", self._list),
            ("GET", "/images/([^/]+)", self._show),
        ]

    def versions(self, url: str, whole: bool) -> Answer:
        """See :meth:`Service.versions`; Glance has only the root's."""
        links = [{"rel": "self", "href": f"{url}/image/v2/"}]
        versions = [
            {"id": "v2.17", "status": "CURRENT", "links": links},
            {"id": "v2.0", "status": "SUPPORTED", "links": links},
        ]
        return Answer(300 if whole else 200, {"versions": versions})

    def refusal(self, error: Refused) -> Answer:
        """See :meth:`Service.refusal`: a page."""
        title = HTTPStatus(error.status).phrase
        return page(title, error.message, error.status, **error.headers)

    def unauthorized(self, url: str) -> Answer:
        """See :meth:`Service.unauthorized`: a page, too."""
        message = "This server could not verify that you may see this."
        where = {"WWW-Authenticate": f'Keystone uri="{url}/identity/v3"'}
        return self.refusal(Refused(401, message, headers=where))

    def _list(self, request: Request) -> Answer:
        wanted = {
            name: _values(name, value)
            for name, value in request.query
            if name not in ("limit", "marker", "sort", "sort_key", "sort_dir")
        }
        found = [i for i in self._state.images.values() if _is(i, wanted)]
        query = f"?{urlencode(request.query)}" if request.query else ""
        body: Json = {
            "images": found,
            "first": f"/v2/images{query}",
            "schema": "/v2/schemas/images",
        }
        return Answer(200, body)

    def _show(self, _request: Request, image_id: str) -> Answer:
        image = self._state.images.get(image_id)
        if image is None:
            raise Refused(404, f"No image found with ID {image_id}")
        return Answer(200, image)


def _values(name: str, value: str) -> set[str]:
    if name in ("id", "name", "status") and value.startswith("in:"):
        return set(value.removeprefix("in:").split(","))
    return {value}


def _is(image: Json, wanted: dict[str, set[str]]) -> bool:
    return all(
        str(image.get(name)) in values for name, values in wanted.items()
    )
