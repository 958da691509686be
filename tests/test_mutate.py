"""The faults of `make mutate`, and the list of those that no test can notice."""

from mutate import EQUIVALENT, REPOSITORY, TESTS, faults

SOURCE = '''
LIMIT = 3

def clip(values: list[int | None], low: float = 0.5) -> bool:
    """Docstring."""
    if not values and low <= 1:
        values = [-value for value in values if value]
        values.sort(reverse=True)
    return values[0] + low
'''


def test_every_fault_is_one_change_of_a_function():
    assert [(before, after) for before, after, _ in faults(SOURCE)] == [
        (before := "def clip(values: list[int | None], low: float=0.5) -> bool:", before.replace("0.5", "1.5")),
        (before := "if not values and low <= 1:", "if not (not values and low <= 1):"),
        ("values = [-value for value in values if value]", "pass"),
        ("values.sort(reverse=True)", "pass"),
        (before, "if not values or low <= 1:"),
        (before, "if not values and low > 1:"),
        (before, "if not values and low <= 2:"),
        (before := "values = [-value for value in values if value]", before.replace("-", "+")),
        (before, before.replace("if value", "if not value")),
        ("values.sort(reverse=True)", "values.sort(reverse=False)"),
        (before := "return values[0] + low", before.replace("+", "-")),
        (before, before.replace("0", "1")),
    ]
    for _, after, broken in faults(SOURCE):
        assert after in broken and "LIMIT = 3" in broken
        compile(broken, "broken", "exec")


def test_what_is_listed_as_equivalent_is_a_fault_of_its_module_and_has_a_reason():
    entries = [entry.splitlines() for entry in EQUIVALENT.read_text(encoding="utf-8").split("\n\n") if entry.strip()]
    for module, before, after, *reason in entries:
        source = (REPOSITORY / "speech_emotion" / f"{module}.py").read_text(encoding="utf-8")
        assert module in TESTS and " ".join(reason)
        assert (before, after) in {(one, other) for one, other, _ in faults(source)}


def test_the_named_tests_exist():
    for module, arguments in TESTS.items():
        assert (REPOSITORY / "speech_emotion" / f"{module}.py").exists()
        assert all((REPOSITORY / argument).exists() for argument in arguments)
