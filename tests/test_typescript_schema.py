import importlib.util
from pathlib import Path

WEB = Path(__file__).parent.parent / "client_demo/web"


def test_the_schema_the_typescript_messages_are_generated_from_is_the_protocols() -> None:
    spec = importlib.util.spec_from_file_location("dump_schema", WEB / "scripts/dump_schema.py")
    assert spec is not None
    assert spec.loader is not None
    dump_schema = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(dump_schema)

    committed = (WEB / "src/client/schema.json").read_text()

    assert committed == dump_schema.render(), "stale: run `npm run generate` in client_demo/web"
