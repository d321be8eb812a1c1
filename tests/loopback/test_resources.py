"""Tests of the resources that every loopback cloud has."""

from tests.loopback.caller import UNKNOWN_ID, Caller


def test_flavors_key_pairs_zones_and_groups_can_be_read(
    caller: Caller,
) -> None:
    def get(path: str) -> object:
        answer = caller.compute("GET", path)
        assert answer.status_code == 200
        return answer.json()

    nano = caller.cloud.ids["m1.nano"]
    assert nano in str(get("/flavors"))
    assert "512" in str(get("/flavors/detail"))
    assert "m1.nano" in str(get(f"/flavors/{nano}"))
    assert "poolkey" in str(get("/os-keypairs"))
    assert "ssh-ed25519" in str(get("/os-keypairs/poolkey"))
    assert "az2" in str(get("/os-availability-zone"))
    assert "anti-affinity" in str(get("/os-server-groups"))
    assert caller.compute("GET", "/os-keypairs/nope").status_code == 404
    assert caller.compute("GET", "/flavors/nope").status_code == 404


def test_images_are_found_by_name_and_by_ids(caller: Caller) -> None:
    image, ids = caller.connection.image, caller.cloud.ids

    def list_names(**query: str) -> list[str]:
        found = image.get("/images", params=query).json()["images"]
        return [each["name"] for each in found]

    assert list_names() == ["tiny", "tiny-2"]
    assert list_names(name="tiny-2") == ["tiny-2"]
    assert list_names(id=f"in:{ids['tiny']},{UNKNOWN_ID}") == ["tiny"]
    assert image.get(f"/images/{ids['tiny']}").json()["name"] == "tiny"
    missing = image.get(f"/images/{UNKNOWN_ID}")
    assert missing.status_code == 404
    assert missing.text.startswith("<html>")
