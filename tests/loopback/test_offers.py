"""What there is in a loopback cloud to make servers from."""

from tests.loopback.caller import NOBODY, Caller


def test_what_servers_are_made_from_can_be_looked_up(caller: Caller) -> None:
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

    def names(**query: str) -> list[str]:
        found = image.get("/images", params=query).json()["images"]
        return [each["name"] for each in found]

    assert names() == ["tiny", "tiny-2"]
    assert names(name="tiny-2") == ["tiny-2"]
    assert names(id=f"in:{ids['tiny']},{NOBODY}") == ["tiny"]
    assert image.get(f"/images/{ids['tiny']}").json()["name"] == "tiny"
    missing = image.get(f"/images/{NOBODY}")
    assert missing.status_code == 404
    assert missing.text.startswith("<html>")
