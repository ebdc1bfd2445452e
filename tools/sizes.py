"""Keeps the house small: no source file over 400 lines, no update rule over 60."""

import ast
import sys
from pathlib import Path

FILE_LIMIT, RULE_LIMIT = 400, 60
RULES = {"update", "loss_of", "token_advantages", "supervised_step"}

faults: list[str] = []
for path in sorted(Path("src").rglob("*.py")):
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n")
    if lines > FILE_LIMIT:
        faults.append(f"{path}: {lines} lines, over {FILE_LIMIT}")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.name in RULES and "roles" in path.parts:
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > RULE_LIMIT:
                faults.append(
                    f"{path}:{node.lineno}: {node.name} has {length} lines, over {RULE_LIMIT}"
                )
sys.stderr.writelines(f"{fault}\n" for fault in faults)
sys.exit(bool(faults))
