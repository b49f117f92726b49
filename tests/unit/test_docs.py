"""README, ARCHITECTURE, CONTRIBUTING and docs/ say what the code says: what they name exists, and they name all of it.

Whether a command does what a page says is tried by people; that it can be typed at all is held here.
"""

from __future__ import annotations

import argparse
import inspect
import itertools
import json
import re
import subprocess
import tomllib
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from argocd import binaries
from controlplane.pins import kubernetes_version
from inferencekey_operator import metrics, settings
from inferencekey_operator.api.status import DriftClass
from inferencekey_operator.api.workload import (
    APPROVE_PLAN,
    FINALIZER,
    GROUP,
    KIND,
    ON_DRIFT,
    RECONCILE_REQUESTED_AT,
    VERSION,
    OnDrift,
    Workload,
)
from inferencekey_operator.app import health, probes
from inferencekey_operator.app.gauges import MOST_PROJECTS, STATES
from inferencekey_operator.crd.reference import render as reference
from inferencekey_operator.crd.schema import crd
from inferencekey_operator.election.shards import LAYOUT, WANTED_BY
from inferencekey_operator.errors import Actor, Reason
from inferencekey_operator.inferencekey import project
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.metrics import GaugeSpec
from inferencekey_operator.plan import conditions, drift, endpoint
from inferencekey_operator.plan.plan import decide
from inferencekey_operator.reconcile import safeguards
from inferencekey_simulator import settings as simulated
from inferencekey_simulator.__main__ import parser as simulator_parser
from inferencekey_simulator.faults import Fault
from unit.builders import IDENTITY, a_live, a_situation, a_workload, agreed, redeclared
from unit.pages import ROOT, Block, Page, code, page, pages

COMMAND_LINE = page("docs/command-line.md")
METRICS = page("docs/metrics.md")
OPERATIONS = page("docs/operations.md")
ALERTS = ROOT / "charts/inferencekey-operator/files/alerts.yaml"
POLICIES = page("docs/drift-policies.md")
STATUS = page("docs/status-and-conditions.md")
SIMULATOR = page("docs/simulator.md")
WORKLOAD = page("docs/workload.md")
ARCHITECTURE = page("ARCHITECTURE.md")
CONTRIBUTING = page("CONTRIBUTING.md")

_VERSION = crd()["spec"]["versions"][0]
_SCHEMA: dict[str, Any] = _VERSION["schema"]["openAPIV3Schema"]["properties"]


def blocks(*languages: str) -> list[Block]:
    """The blocks of these languages, of all pages."""
    return [block for each in pages() for block in each.blocks if block.language in languages]


def commands(block: Block) -> str:
    """What is typed: a whole `sh` block, or what follows the prompts of a `console` block."""
    if block.language == "sh":
        return block.text
    return "".join(line[2:] + "\n" for line in block.text.splitlines() if line.startswith("$ "))


def option_parser() -> argparse.ArgumentParser:
    """The options of `inferencekey-operator run`."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    settings.add_options(parser)
    return parser


def the_options(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Every long flag of a parser."""
    return {
        flag: action for action in parser._actions for flag in action.option_strings if flag not in ("-h", "--help")
    }


# -- reasons, conditions, annotations, metrics -------------------------------------------------------------------------


def test_every_reason_has_its_entry() -> None:
    """Troubleshooting has one heading for each reason, and none for anything else."""
    headings = page("docs/troubleshooting.md").headings(3)
    assert sorted(headings) == sorted(Reason)


def test_each_reason_says_who_acts_next() -> None:
    """The table of reasons agrees with the code about who acts, and leaves none out."""
    who = [Actor.NOBODY, Actor.PLATFORM, Actor.APPROVER, Actor.PERSON]
    table = STATUS.table("Reasons")
    assert {actor: set(code(row[2])) for actor, row in zip(who, table, strict=True)} == {
        actor: {str(reason) for reason in Reason if reason.actor is actor} for actor in who
    }


def test_every_condition_is_described() -> None:
    """The table of conditions has the types that a status may have."""
    known = _SCHEMA["status"]["properties"]["conditions"]["items"]["properties"]["type"]["description"]
    assert {code(row[0])[0] for row in STATUS.table("Conditions")} == set(re.findall(r"[A-Z][a-z]+", known))


def test_conditions_that_are_waited_for_exist() -> None:
    """`kubectl wait --for=condition=…` names a type of the table, everywhere."""
    known = {code(row[0])[0] for row in STATUS.table("Conditions")} | {"Established"}
    for each in pages():
        assert set(re.findall(r"condition=(\w+)", each.text)) <= known, each


def test_annotations_exist() -> None:
    """Whatever is named below our group is an annotation, the finalizer, the version or the kind; and all are named."""
    of_workloads = {ON_DRIFT, APPROVE_PLAN, RECONCILE_REQUESTED_AT, FINALIZER}
    known = of_workloads | {LAYOUT, WANTED_BY, f"{GROUP}/{VERSION}", f"{GROUP}/{KIND}"}
    named = {name for each in pages() for name in re.findall(rf"(?<![.\w]){GROUP}/[\w-]*\w", each.text)}
    assert named == known
    assert {code(row[0])[0] for row in WORKLOAD.table("Annotations")} == {
        ON_DRIFT,
        APPROVE_PLAN,
        RECONCILE_REQUESTED_AT,
    }


def test_every_metric_is_described() -> None:
    """The table of metrics has those that /metrics has, with their labels."""
    happens = {_with_labels(each) for each in vars(metrics).values() if isinstance(each, MetricWrapperBase)}
    stands = {_with_labels(each) for each in vars(metrics).values() if isinstance(each, GaugeSpec)}
    assert {code(row[0])[0] for row in METRICS.table("What happens")} == happens
    assert {code(row[0])[0] for row in METRICS.table("What stands")} == stands


def _with_labels(metric: MetricWrapperBase | GaugeSpec) -> str:
    if isinstance(metric, GaugeSpec):
        name, labels = metric.name, metric.labels
    else:
        name = metric._name + ("_total" if metric._type == "counter" else "")
        labels = tuple(metric._labelnames)
    return f"{name}{{{','.join(labels)}}}" if labels else name


def test_every_probe_is_described() -> None:
    """The table of probes has the paths that are served."""
    served = set(re.findall(r'add_get\("(/[a-z]+z)"', inspect.getsource(probes)))
    assert {code(row[0])[0] for row in METRICS.table("Probes")} == served


def test_every_state_is_described() -> None:
    """The words of the label `state` are those of the table."""
    assert {code(row[0])[0] for row in METRICS.table("What stands", 1)} == set(STATES)


def test_every_alert_has_its_section() -> None:
    """Operations has one heading for each rule, and the rule says where it is."""
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    assert sorted(OPERATIONS.headings(3)) == sorted(rule["alert"] for rule in rules)
    for rule in rules:
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"


# -- options -----------------------------------------------------------------------------------------------------------


def test_every_option_has_its_row() -> None:
    """Flag, variable and default of each option of `run`; and no row for anything else."""
    parser = option_parser()
    rows = {code(row[0])[0]: row for row in COMMAND_LINE.table("Options of `run`")}
    assert list(rows) == list(the_options(parser))
    for flag, action in the_options(parser).items():
        _, variable, default, _ = rows[flag]
        assert code(variable)[0] in (action.help or ""), flag
        assert _read(parser, flag, default) == getattr(settings.Settings(), action.dest), flag


def _read(parser: argparse.ArgumentParser, flag: str, cell: str) -> Any:
    """The value of a cell that states a default; words without backticks state that there is none."""
    attribute = flag.removeprefix("--").replace("-", "_")
    repeats = isinstance(getattr(settings.Settings(), attribute), tuple)
    if not cell.startswith("`"):
        return () if repeats else None
    value = getattr(parser.parse_args([flag, code(cell)[0]]), attribute)
    return tuple(value) if repeats else value


def test_every_option_of_the_simulator_has_its_row() -> None:
    """Flag and default of each option of `serve`."""
    serve = simulator_parser()._subparsers._group_actions[0].choices["serve"]  # type: ignore[union-attr, index]
    rows = SIMULATOR.table("Options")
    described = [name.split()[0] for row in rows for name in code(row[0])]
    assert sorted(described) == sorted(the_options(serve))
    for row in rows:
        action = the_options(serve)[code(row[0])[0].split()[0]]
        if code(row[1]) and action.default is not None:
            assert float(code(row[1])[0]) == action.default if action.type else code(row[1])[0] == action.default, row


def test_every_fault_is_described() -> None:
    """The table of faults has the actions that the simulator knows."""
    known = Fault.model_fields["action"].annotation.__args__  # type: ignore[union-attr]
    assert [code(row[0])[0] for row in SIMULATOR.table("Make trouble")] == list(known)


_SURPRISES = "Simulate lag, skew and surprises"


def test_every_surprise_of_the_simulator_has_its_row() -> None:
    """The table has each of these settings with its default."""
    known = simulated.Settings().model_dump(mode="json")
    rows = {code(row[0])[0]: row for row in SIMULATOR.table(_SURPRISES)}
    assert sorted(rows) == sorted(list(known)[list(known).index("list_lag") :])
    for name, row in rows.items():
        shown = known[name].values() if name == "list_lag" else [known[name]]
        assert {str(value).lower().removesuffix(".0") for value in shown} == {code(row[2])[0]}, name


def test_every_surprise_of_the_simulator_is_shown() -> None:
    """The block sets each of these settings to a value that fits, and restores the defaults at its end."""
    block = next(each.text for each in SIMULATOR.blocks if each.text.startswith("settings="))
    changes = [json.loads(each) for each in re.findall(r"\$settings\" -d '([^']*)'", block)]
    rows = {code(row[0])[0] for row in SIMULATOR.table(_SURPRISES)}
    assert {name for change in changes[:-1] for name in change} == set(changes[-1]) == rows
    settings = simulated.Settings()
    for change in changes:
        settings = settings.patched(change)
    assert settings == simulated.Settings()


@pytest.mark.parametrize("block", blocks("sh", "console"), ids=str)
def test_our_own_commands_can_be_typed(block: Block) -> None:
    """Whatever a page has people call with `inferencekey-…` or `make` is accepted there."""
    text = commands(block).replace("\\\n", " ")
    for options in re.findall(r"bin/inferencekey-operator run([^#\n]*)", text):
        option_parser().parse_args(options.replace("--help", "").split())
    for arguments in re.findall(r"bin/inferencekey-simulator (serve[^#\n]*)", text):
        simulator_parser().parse_args(arguments.split())
    for target in re.findall(r"^make ([a-z][a-z0-9-]*)", text, re.MULTILINE):
        assert target in targets(), target


# -- policies ----------------------------------------------------------------------------------------------------------

_SITUATIONS: dict[DriftClass, tuple[Workload, LiveWorkload | None]] = {
    DriftClass.NOT_CREATED: (a_workload(), None),
    DriftClass.OUT_OF_BAND: (agreed(a_workload()), a_live(model_name="theirs")),
    DriftClass.SPEC_CHANGE: (redeclared(agreed(a_workload()), model="ours"), a_live()),
    DriftClass.BOTH: (redeclared(agreed(a_workload()), model="ours"), a_live(model_name="theirs")),
    DriftClass.MISSING: (agreed(a_workload()), None),
}


def test_the_policy_table_is_what_is_decided() -> None:
    """Each cell of the page's table is what the code decides in that situation."""
    table = {code(row[0])[0]: row[1:] for row in POLICIES.table("What happens")}
    assert set(table) == set(DriftClass)
    for drift_class, (workload, live) in _SITUATIONS.items():
        for policy, cell in zip(OnDrift, table[drift_class], strict=True):
            assert cell == _cell(drift_class, workload, live, policy), (drift_class, policy)


def _cell(drift_class: DriftClass, workload: Workload, live: LiveWorkload | None, policy: OnDrift) -> str:
    plan = decide(a_situation(workload, live, policy))
    assert plan.drift_class is drift_class
    if plan.perform:
        return "applied"
    assert plan.reason is not None
    shown = Reason.READY if plan.ready and plan.reason is Reason.DRIFT_DETECTED else plan.reason
    stalled = ", Stalled" if not plan.ready and plan.reason.actor is Actor.PERSON else ""
    return f"{'Ready' if plan.ready else 'not Ready'}, `{shown}`{stalled}"


def test_the_policies_and_classes_are_all_there() -> None:
    """Both tables that explain the words have each of them, and no other."""
    assert [code(row[0])[0] for row in POLICIES.table("Drift policies")] == list(OnDrift)
    assert [code(row[0])[0] for row in POLICIES.table("Which side moved")] == list(DriftClass)


# -- the resource ------------------------------------------------------------------------------------------------------


def test_every_field_of_the_spec_is_described() -> None:
    """The two tables of fields have those of the schema."""
    rows = WORKLOAD.table("Fields that go to the platform") + WORKLOAD.table("Fields that stay in the cluster")
    described = [name.split(".")[0] for row in rows for name in code(row[0]) if not name.startswith(".")]
    assert sorted(described) == sorted(_SCHEMA["spec"]["properties"])


def test_every_field_of_the_status_is_described() -> None:
    """The table of the status has the fields of the schema, but the conditions, which have tables of their own."""
    rows = STATUS.table("Other fields")
    described = {name for row in rows for name in _fields(code(row[0]))} | {"conditions"}
    fields = _SCHEMA["status"]["properties"]
    assert {name.split(".")[0] for name in described} == set(fields)
    for name in ("endpoint", "readiness", "drift", "creation"):
        inner = {each.split(".")[1] for each in described if each.startswith(f"{name}.")}
        assert inner == set(fields[name]["properties"]), name


def _fields(names: list[str]) -> list[str]:
    """`drift.class`, `.policy` are `drift.class` and `drift.policy`."""
    head = names[0].split(".")[0]
    return [head + name if name.startswith(".") else name for name in names]


def test_the_columns_are_those_of_kubectl() -> None:
    """`kubectl get ikw` shows what the page says, in that order."""
    named = re.findall(r"\b[A-Z]{2,}\b", STATUS.section("Columns"))
    assert named == [column["name"].upper() for column in _VERSION["additionalPrinterColumns"]]


def test_the_task_types_are_all_there() -> None:
    """The page names each modality."""
    row = next(row for row in WORKLOAD.table("Fields that go to the platform") if row[0] == "`taskType`")
    known = next(rule["enum"] for rule in _walk(_SCHEMA["spec"]["properties"]["taskType"]) if "enum" in rule)
    assert list(dict.fromkeys(code(row[2]))) == known


def _walk(schema: Any) -> list[dict[str, Any]]:
    """A schema and all schemas in it."""
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    return [*([schema] if isinstance(schema, dict) else []), *itertools.chain.from_iterable(map(_walk, inner))]


def test_the_reference_is_what_the_models_say() -> None:
    """It is generated: run `make generate`."""
    assert page("docs/reference.md").text == reference()


def test_the_reference_leaves_no_field_out() -> None:
    """Every field of the schema, however deep, has a row, and every rule its words."""
    text = page("docs/reference.md").text
    for schema in _walk(_SCHEMA):
        properties = schema.get("properties", {})
        assert all(f"| `{name}` |" in text for name in properties if isinstance(properties[name], dict))
        for rule in schema.get("x-kubernetes-validations", ()):
            if not rule["message"].startswith("a token"):
                assert rule["message"].replace("<", "\\<") in text


def test_the_keys_of_the_endpoint_are_described() -> None:
    """The page has the keys that the ConfigMap of a route and that of jobs have."""
    live = a_live()
    written = endpoint.data(IDENTITY, live, "text2text") | endpoint.data(IDENTITY, None, "reranker")
    rows = page("docs/endpoints.md").table("Keys")
    assert {code(row[0])[0] for row in rows} == set(written)
    named = set(code(page("docs/endpoints.md").section("Keys")))
    assert named >= endpoint.ASYNC_ONLY


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_manifests_can_be_read(block: Block) -> None:
    """Every YAML block is one; a Workload in it has no field that the schema does not know."""
    document = yaml.safe_load(block.text)
    assert isinstance(document, dict)
    if document.get("kind", "Workload") == "Workload" and "spec" in document:
        assert set(document["spec"]) <= set(_SCHEMA["spec"]["properties"])


def test_the_least_is_the_example_without_its_comments() -> None:
    """The page shows what the file has."""
    shown = yaml.safe_load(WORKLOAD.blocks[0].text)
    assert shown == yaml.safe_load((ROOT / "examples/chat/workload.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("docs/drift-policies.md", f"at most {conditions.MOST_FIELDS} fields are listed"),
        ("docs/drift-policies.md", f"{conditions.MOST_VALUE_CHARACTERS} characters"),
        ("docs/drift-policies.md", f"at least {safeguards.CONFIRM_AFTER:g} seconds"),
        ("docs/drift-policies.md", f"at least {safeguards.MASS_LEAST} known workloads"),
        ("docs/internals.md", f"{drift.MOST_BYTES:,} bytes of records"),
        ("docs/internals.md", f"at most {({8: 'eight'})[project.WRITES]} writes under way"),
        ("docs/metrics.md", f"the {MOST_PROJECTS} worst projects"),
        ("docs/metrics.md", f"silent for more than {health.DEAF:.0f} s"),
        ("docs/metrics.md", f"gone on for {health.STUCK / 60:.0f} minutes"),
        ("docs/metrics.md", f"heard of the Lease for {health.LEASE_UNSEEN:.0f} s"),
        ("docs/command-line.md", f"default `{settings.DEFAULT_BASE_URL}`"),
    ],
)
def test_numbers_are_those_of_the_code(name: str, words: str) -> None:
    """A bound that a page states is the one that holds."""
    assert words in " ".join(page(name).text.split())


# -- the house ---------------------------------------------------------------------------------------------------------


def test_the_map_has_every_package() -> None:
    """ARCHITECTURE's tree names each package and each module at the operator's top once, and none that is gone."""
    tree = next(block.text for block in ARCHITECTURE.blocks if "inferencekey_operator/" in block.text)
    package = ROOT / "operator/inferencekey_operator"
    names = [path.name for path in package.glob("*.py") if path.name != "__init__.py"]
    names += [f"{path.parent.name}/" for path in package.glob("*/__init__.py")]
    assert sorted(re.findall(r"^    (\w+(?:\.py|/)) ", tree, re.MULTILINE)) == sorted(names)


def test_each_package_says_what_it_decides() -> None:
    """And what it must not know, in its `__init__.py`, which holds nothing else."""
    for init in (ROOT / "operator/inferencekey_operator").glob("*/__init__.py"):
        text = init.read_text(encoding="utf-8")
        assert text.startswith('"""'), init
        assert re.search("[Dd]ecides", text), init
        assert text.rstrip().endswith('"""'), init


def test_the_map_has_every_folder() -> None:
    """The rooms at the top of the tree are there."""
    tree = next(block.text for block in ARCHITECTURE.blocks if "inferencekey_operator/" in block.text)
    for folder in re.findall(r"^(\w+)/", tree, re.MULTILINE):
        assert (ROOT / folder).is_dir(), folder


def test_the_contracts_are_those_that_are_held() -> None:
    """ARCHITECTURE's table of contracts is that of the import linter."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    assert [row[0] for row in ARCHITECTURE.table("Contracts")] == [contract["name"] for contract in contracts]


def targets() -> list[str]:
    """What the Makefile says of itself."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return re.findall(r"^([\w-]+):.*## ", makefile, re.MULTILINE)


def test_every_target_is_described() -> None:
    """CONTRIBUTING's table has the targets that `make help` lists."""
    rows = CONTRIBUTING.table("Set-up")
    described = ["setup" if code(row[0])[0] == "make" else code(row[0])[0].removeprefix("make ") for row in rows]
    assert sorted(described) == sorted(targets())


def test_what_was_proven_is_what_is_pinned() -> None:
    """The pages say on which Argo CD and Kubernetes it was seen, and those are the versions that would run now."""
    told = page("docs/gitops.md").section("Proven")
    assert f"Argo CD {binaries.version()} on Kubernetes {kubernetes_version()}" in " ".join(told.split())
    assert f"Kubernetes {kubernetes_version()}" in page("docs/install.md").section("Proven in pods")


def test_every_example_is_mentioned() -> None:
    """Each folder of examples/ is linked from a page."""
    linked = {(each.path.parent / link).resolve() for each in pages() for link in each.links}
    for example in (each for each in (ROOT / "examples").iterdir() if each.is_dir()):
        assert example.resolve() in linked, example.name


@pytest.mark.parametrize("each", pages(), ids=str)
def test_links_lead_somewhere(each: Page) -> None:
    """Every link inside the project has a file at its end and, where it names one, a heading."""
    for link in each.links:
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        path = (each.path.parent / target).resolve() if target else each.path
        assert path.exists(), link
        if anchor:
            assert anchor in Page(path).anchors, link


@pytest.mark.parametrize("each", pages(), ids=str)
def test_files_that_are_named_exist(each: Page) -> None:
    """A path in backticks, or in a command, is one of the repository's; a test that is named is there."""
    for name in re.findall(r"(?<![\w./-])(?:tests|examples|charts|docs|demo|crds|operator)/[\w./-]*\w", each.text):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"(?<!/)\btest_\w+\.py", each.text):
        assert list((ROOT / "tests").rglob(name)), name


def test_the_readme_is_read_in_two_minutes_or_three() -> None:
    """README stays short: what is longer has a page of its own."""
    assert len(page("README.md").text.split()) < 800


# -- blocks of code ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("each", pages(), ids=str)
def test_every_block_says_what_it_is(each: Page) -> None:
    """A block has a language that is checked, or none: then it is a drawing."""
    assert {block.language for block in each.blocks} <= {"", "sh", "console", "yaml", "python"}


@pytest.mark.parametrize("block", blocks("sh", "console"), ids=str)
def test_what_is_typed_is_shell(block: Block) -> None:
    """The shell can read it: no placeholder that is a redirection, no quote left open."""
    text = commands(block)
    assert text.strip(), "nothing is typed in it"
    checked = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
    assert not checked.stderr, checked.stderr


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_can_be_read(block: Block) -> None:
    """It compiles."""
    compile(block.text, str(block), "exec")
