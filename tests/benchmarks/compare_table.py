"""What compare.py found as Markdown, with a caption that says how."""

import statistics
from typing import Any

import numpy as np

REFERENCE, OURS = "transformers", "mimi_mlx"

Found = dict[str, dict[str, Any]]


def agree(found: Found) -> None:
    """Put in place of each implementation's codes how many are the reference's."""
    reference = np.array(found[REFERENCE]["codes"]) if REFERENCE in found else None
    for about in found.values():
        for kind in ("codes", "streamed_codes"):
            codes = np.array(about.pop(kind))
            about[f"equal_{kind}"] = None if reference is None else equal(codes, reference)


def equal(codes: np.ndarray, reference: np.ndarray) -> dict[str, float | int]:
    """The share of equal codes, over the codebooks and frames that both have."""
    k, frames = np.minimum(codes.shape[1:], reference.shape[1:])
    same = codes[:, :k, :frames] == reference[:, :k, :frames]
    return {"share": float(same.mean()), "codebooks": int(k)}


def table(about: dict[str, Any], tasks: list[str]) -> str:
    """A caption, a row for each implementation, and what each was given."""
    columns = [*tasks, "peak memory", "codes = PyTorch, whole", "streamed"]
    lines = [caption(about), "", f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    peers = about["peers"]
    for name, peer in peers.items():
        cells = [cell(task, peer, peers.get(OURS)) for task in tasks]
        cells.append(f"{peer['peak_mb']:.0f} MB" if peer["peak_mb"] else "not yet")
        for kind in ("equal_codes", "equal_streamed_codes"):
            found = peer[kind]
            few = (
                f" of {found['codebooks']}"
                if found and found["codebooks"] < about["codebooks"]
                else ""
            )
            cells.append(f"{100 * found['share']:.2f} %{few}" if found else "?")
        lines.append(f"| {name} {peer['version']} | {' | '.join(cells)} |")
    lines += ["", *(f"- {name}: {peer['given']}." for name, peer in peers.items())]
    lines += [f"- {name} {why}." for name, why in about["left_out"].items()]
    return "\n".join(lines)


def caption(about: dict[str, Any]) -> str:
    text = (
        f"{about['machine']}, Python {about['python']}; weights {about['weights']}, float32, "
        f"{about['codebooks']} codebooks. Medians of {about['rounds']} rounds in turn; in brackets "
        "how many times mimi_mlx's."
    )
    if about["load_before"] >= 0.5:
        text += (
            f" Other programs were running (load {about['load_before']}), which slows all of them, "
            "and PyTorch most."
        )
    if any(share < 1 for peer in about["peers"].values() for share in peer["share"].values()):
        text += " \\*: a tenth of the clip, its time scaled to the whole."
    if not about["complete"]:
        text = f"**Incomplete**, medians of what there is. {text}"
    return f"{text} `{about['command']}`"


def cell(task: str, peer: dict[str, Any], ours: dict[str, Any] | None) -> str:
    times = peer["seconds"].get(task)
    if not times:
        return "not yet"
    if None in times:
        return "has none"
    median = statistics.median(times)
    text = f"{1e3 * median:.1f} ms" if task.endswith("frame") else f"{median:.2f} s"
    if ours and (turns := list(zip(times, ours["seconds"].get(task, ()), strict=False))):
        text += f" ({statistics.median(a / b for a, b in turns):.2f})"
    return text + (r" \*" if peer["share"][task] < 1 else "")
