def _score_sets(
    run: Run,
    plan: Plan,
    done: Sequence[Done],
    metrics: dict[str, Any],
    reference: Reference,
    before: Scores,
    cards: dict[str, dict[str, Any]],
    progress: Progress,
) -> list[dict[str, Any]]:
    from metrics.base import PROSE, fingerprint

    known = {(row["inputs"], row["fingerprint"]): row for row in before.sets.to_dict("records")}
    store, rows = _FeatureStore(run), []
    cells = [(index, number) for index, entry in enumerate(plan.entries) for number in range(len(entry.values))]
    with progress("score sets", len(cells) * len(metrics)) as advance:
        for name, metric in metrics.items():
            card = asdict(metric.card) | {"reference": reference.identity}
            print_ = fingerprint({key: value for key, value in card.items() if key not in PROSE})
            cards[print_] = card
            for index, number in cells:
                entry = plan.entries[index]
                members = [
                    (record, plan.samples[unit.sample])
                    for unit, record in done
                    if unit.entry == index and unit.seed == plan.first_seed
                ]
                inputs = _digest([(record.edits[number].sha256, sample.target_class) for record, sample in members])
                old = known.get((inputs, print_))
                score, note = (old["score"], old["note"]) if old else (float("nan"), "")
                if not old and len(members) >= metric.min_samples:
                    where = f"metric {name}, editor {entry.label} at {entry.values[number]:g}"
                    score, note = _set_score(where, metric, run, store, members, number, reference)
                classes = len({sample.target_class for _, sample in members})
                grouped = getattr(metric, "uses_classes", metric.name == "csfid") and classes
                rows.append(
                    {
                        "editor": entry.label,
                        "knob": entry.knob or None,
                        "value": entry.values[number],
                        "metric": name,
                        "score": score,
                        "n": len(members),
                        "fingerprint": print_,
                        "per_class": len(members) / classes if grouped else float("nan"),
                        "inputs": inputs,
                        "note": note,
                    }
                )
                advance()
            store.save()
    return rows


def _set_score(
    where: str,
    metric: Any,
    run: Run,
    store: _FeatureStore,
    members: Sequence[tuple[Record, SampleInfo]],
    number: int,
    reference: Reference,
) -> tuple[float, str]:
    from metrics.base import FeatureSet, MetricError, MetricWarning

    files = [(record.edits[number].sha256, record) for record, _ in members]
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", MetricWarning)
        try:
            edits = store.features(metric, [key for key, _ in files], lambda i: run.read_edit(files[i][1], number))
            theirs = store.features(metric, reference.keys, lambda i: reference.images[i])
            classes = [sample.target_class for _, sample in members]
            score = float(metric.value(FeatureSet(edits, classes), FeatureSet(theirs, reference.classes)))
        except MetricError as error:
            raise ScoreError(f"{where}: {error}") from error
    return score, "; ".join(dict.fromkeys(str(item.message) for item in heard if issubclass(item.category, MetricWarning)))


class _FeatureStore:
    """Features by extractor and content, kept in `scores/features/<extractor>.npz`: made once, shared by metrics."""

    def __init__(self, run: Run) -> None:
        self._folder = run.scores / "features"
        self._kept: dict[str, dict[str, NDArray[Any]]] = {}
        self._changed: set[str] = set()

    def features(self, metric: Any, keys: Sequence[str], image: Any) -> NDArray[Any]:
        """Rows (n, d) for the pictures called `keys`; `image(i)` is asked for those not yet known."""
        import numpy as np

        name = _digest(metric.extractor)
        kept = self._kept.setdefault(name, self._read(name)) if name not in self._kept else self._kept[name]
        lacking = [index for index in {key: index for index, key in enumerate(keys)}.values() if keys[index] not in kept]
        for chunk in _chunks(lacking):
            made = metric.features([image(index) for index in chunk])
            kept.update({keys[index]: row for index, row in zip(chunk, made, strict=True)})
            self._changed.add(name)
        return np.stack([kept[key] for key in keys])

    def save(self) -> None:
        """Write what is new."""
        import numpy as np

        for name in self._changed:
            buffer = io.BytesIO()
            np.savez(buffer, keys=np.array(list(self._kept[name])), rows=np.stack(list(self._kept[name].values())))
            write_atomically(self._folder / f"{name}.npz", buffer.getvalue())
        self._changed.clear()

    def _read(self, name: str) -> dict[str, NDArray[Any]]:
        import numpy as np

        try:
            with np.load(self._folder / f"{name}.npz", allow_pickle=False) as kept:
                return dict(zip(kept["keys"].tolist(), kept["rows"], strict=True))
        except (OSError, ValueError, KeyError):
            return {}


def _digest(content: object) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


def _chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[start : start + EDITS_AT_A_TIME] for start in range(0, len(items), EDITS_AT_A_TIME))
