"""The image service, like Glance."""

from aiohttp.web import Response

from poolmgr.testing.openstack.service import (
    Handler,
    Refused,
    Request,
    Service,
    html_answer,
    json_answer,
)

_PAGING = ("limit", "marker", "sort", "sort_key", "sort_dir")


class Image(Service):
    """Lists and shows images."""

    name, version, version_id = "image", "/v2", "v2.17"

    def routes(self) -> list[tuple[str, str, Handler]]:
        """See :meth:`Service.routes`."""
        return [
            ("GET", "/images", self._list),
            ("GET", "/images/([^/]+)", self._show),
        ]

    def versions(self, url: str, root: bool) -> Response:
        """See :meth:`Service.versions`; Glance has one document."""
        body = {"versions": [self.version_document(url)]}
        return json_answer(body, 300 if root else 200)

    def refusal(self, error: Refused) -> Response:
        """See :meth:`Service.refusal`; Glance returns HTML."""
        return html_answer(error.message, error.status, error.headers)

    def _list(self, request: Request) -> Response:
        wanted = {
            name: _values(value)
            for name, value in request.http.query.items()
            if name not in _PAGING
        }
        images = [
            image
            for image in self._state.images.values()
            if all(str(image.get(n)) in values for n, values in wanted.items())
        ]
        return json_answer({"images": images, "first": "/v2/images"})

    def _show(self, _request: Request, image_id: str) -> Response:
        image = self._state.images.get(image_id)
        if image is None:
            raise Refused(404, f"No image found with ID {image_id}")
        return json_answer(image)


def _values(value: str) -> list[str]:
    """Return the values that a filter allows; "in:a,b" allows two."""
    several = value.startswith("in:")
    return value.removeprefix("in:").split(",") if several else [value]
