"""What each address takes, told where something else is asked of it."""

from uuid import uuid4

from support.service import Api


def test_a_method_that_is_not_taken_is_answered_with_those_that_are(api: Api) -> None:
    document = api.client.get("/openapi.json").json()
    assert len(document["paths"]) > 10
    for path, operations in document["paths"].items():
        address = path.format(**{name: uuid4() for name in ("run_id", *_OTHERS)})
        refused = api.client.request("OPTIONS", str(api.client.base_url.copy_with(path=address)))
        assert refused.status_code == 405, path
        allowed = {method.strip() for method in refused.headers["allow"].split(",")}
        assert allowed >= {method.upper() for method in operations}, path


_OTHERS = ("dataset_id", "strategy_id", "artifact_id", "webhook_id", "delivery_id")
