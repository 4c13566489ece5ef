"""What cfn-lint has to say about a template."""

from __future__ import annotations

import json
from typing import Any

from cfnlint.api import ManualArgs, lint


def complaints(template: dict[str, Any]) -> list[str]:
    """Errors and warnings, as the command gives them; none where the template is good."""
    found = lint(json.dumps(template), config=ManualArgs(regions=["us-west-2"]))
    return [str(one) for one in found if one.rule.id.startswith(("E", "W"))]
