"""Write the protocol's JSON schema, from which the TypeScript messages are generated.

Run in the server's environment, from the repository's root:
`python client_demo/web/scripts/dump_schema.py` (then `npm run generate`, which calls this).
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
TARGET = ROOT / "client_demo/web/src/client/schema.json"
# The one field where nil and absent differ.
NULLABLE = {("Segment", "prior"), ("MaskReply", "prior")}


def schema() -> dict[str, Any]:
    """Every message as a definition, plus the constants a client needs."""
    sys.path.insert(0, str(ROOT))
    from pydantic import TypeAdapter  # noqa: PLC0415 - after the path is set

    from server import errors, protocol  # noqa: PLC0415 - after the path is set

    whole: Any = protocol.ClientMessage | protocol.ServerMessage
    adapter: TypeAdapter[Any] = TypeAdapter(whole)
    at = "#/definitions/{model}"
    definitions: dict[str, Any] = adapter.json_schema(ref_template=at)["$defs"]
    for name, message in definitions.items():
        for field, spec in message["properties"].items():
            message["properties"][field] = _field(spec, (name, field) in NULLABLE)
        _require_type(message)
    return {
        "subprotocol": protocol.SUBPROTOCOL,
        "maxDataBytes": protocol.MAX_DATA_BYTES,
        "maxPoints": protocol.MAX_POINTS,
        "maxPriorBytes": protocol.MAX_PRIOR_BYTES,
        "client": [m.__name__ for m in protocol.CLIENT_MESSAGES.values()],
        "server": [m.__name__ for m in protocol.SERVER_MESSAGES.values()],
        "errors": sorted(errors.ERRORS),
        "definitions": definitions,
    }


def _field(spec: dict[str, Any], nullable: bool) -> dict[str, Any]:
    """Absent and null are one on the wire, so optional fields are `?`, not `| null`."""
    if "anyOf" in spec and not nullable:
        rest = [choice for choice in spec.pop("anyOf") if choice != {"type": "null"}]
        spec |= rest[0] if len(rest) == 1 else {"anyOf": rest}
    if spec.get("format") == "binary":
        spec["tsType"] = "Uint8Array"
    for noise in ("default", "title"):
        spec.pop(noise, None)
    return spec


def _require_type(message: dict[str, Any]) -> None:
    if "type" in message["properties"]:
        message["required"] = ["type", *(n for n in message.get("required", []) if n != "type")]
    # A client ignores what a newer server adds, and sends nothing the server does not know.
    message["additionalProperties"] = False


def render() -> str:
    """The file's text."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    TARGET.write_text(render())
