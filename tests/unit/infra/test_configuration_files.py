"""A folder of documents: what is wrong with it is said with file, line, field, value and what was expected."""

from pathlib import Path

import pytest

from autopilot.infra.activation import activation, changes, check_author
from autopilot.infra.configuration_files import Finding, check_together, read_file, read_folder
from autopilot.infra.signers import ROLES_OF_NEW, add_principal, ensure_first_principals, signers_of
from autopilot.schemas.configuration import Configuration, Principal, Role, Signers, document
from autopilot.schemas.signing import SigningKey

FLEET = """\
kind: Fleet
name: shop
domains:
  - {name: shop, partition: 0}
services:
  - {name: checkout, domain: shop, tier: 1, owner: team}
"""
OBJECTIVES = """\
kind: ServiceLevelObjectives
name: shop
objectives:
  - name: checkout-errors
    service: checkout
    sli: errors
    objective_bp: 9900
    indicator: {type: ratio, bad: {metric: errors}, total: {metric: requests}}
    alerts: [{long_window_ms: 60000, short_window_ms: 10000, burn_rate_milli: 10000}]
"""
REMEDIES = """\
kind: RemedyCatalogue
name: shop
remedies:
  - name: restart
    summary: restart it
    precondition: running > 0
    risk_class: low
    steps: [{id: one, driver: supervisord, action: {verb: scale, parameters: {count: string(desired)}}}]
"""
BUNDLE = """\
kind: PolicyBundle
name: shop
version: "1.0.0"
description: allows all
facts: 1
rules:
  - {id: allow, effect: permit, when: "halted == false", message: yes it may}
"""


def findings(folder: Path, in_force: Configuration | None = None, partitions: int = 4) -> list[Finding]:
    loaded, found = read_folder(folder)
    return found + check_together(loaded, in_force or Configuration(), partitions, whole=not found)


def write(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def test_a_good_folder_gives_its_documents(tmp_path: Path) -> None:
    write(tmp_path, fleet=FLEET, slos=OBJECTIVES, remedies=REMEDIES, bundle=BUNDLE)
    loaded, found = read_folder(tmp_path)
    assert (found, check_together(loaded, Configuration(), 4)) == ([], [])
    assert sorted(item.kind for item in loaded) == [
        "Fleet",
        "PolicyBundle",
        "RemedyCatalogue",
        "ServiceLevelObjectives",
    ]


def test_several_documents_in_one_file_and_folders_in_folders_are_read(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "all.yml").write_text(FLEET + "---\n" + OBJECTIVES)
    loaded, found = read_folder(tmp_path)
    assert [item.file for item in loaded] == ["deep/all.yml", "deep/all.yml"]
    assert found == []


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        (
            FLEET.replace("tier: 1", "tier: 9"),
            "f.yaml:6: `services.0.tier` is 9, expected less than or equal to 4",
        ),
        (
            FLEET.replace("owner: team", "owne: team"),
            "f.yaml:6: `services.0.owne` is 'team', expected nothing: there is no such field here",
        ),
        (FLEET.replace(", owner: team", ""), "f.yaml:6: `services.0.owner` is missing, expected a value: this"),
        (FLEET.replace("kind: Fleet", "kind: Flet"), "f.yaml:1: `kind` is 'Flet', expected one of Fleet,"),
        ("kind: [", "f.yaml:1: not YAML"),
        ("- 1", "f.yaml:1: `kind` is None"),
    ],
)
def test_a_bad_document_is_named_with_its_line(tmp_path: Path, text: str, finding: str) -> None:
    _, found = read_folder(write(tmp_path, f=text))
    assert any(str(each).startswith(finding) for each in found), found


@pytest.mark.parametrize(
    ("changed", "finding"),
    [
        (
            {"slos": OBJECTIVES.replace("service: checkout", "service: chekout")},
            "slos.yaml:5: `objectives.0.service` is 'chekout', expected one of checkout",
        ),
        (
            {"slos": OBJECTIVES.replace("bad: {metric: errors}, ", "")},
            "slos.yaml:8: `objectives.0.indicator` is 'a ratio', expected exactly one of `bad` and `good`",
        ),
        (
            {"slos": OBJECTIVES.replace("short_window_ms: 10000", "short_window_ms: 90000")},
            "slos.yaml:9: `objectives.0.alerts.0.short_window_ms` is 90000, expected at most 60000",
        ),
        (
            {"fleet": FLEET.replace("domain: shop", "domain: ship")},
            "fleet.yaml:6: `services.0.domain` is 'ship', expected one of shop",
        ),
        (
            {"fleet": FLEET.replace("owner: team", "owner: team, depends_on: [stock]")},
            "fleet.yaml:6: `services.0.depends_on.0` is 'stock', expected one of checkout",
        ),
        (
            {"fleet": FLEET.replace("partition: 0", "partition: 4")},
            "fleet.yaml:4: `domains.0.partition` is 4, expected below 4",
        ),
        (
            {"remedies": REMEDIES.replace("running > 0", "runing > 0")},
            "remedies.yaml:6: `remedies.0.precondition` is 'runing > 0', expected an expression",
        ),
        (
            {"remedies": REMEDIES.replace("string(desired)", "desired")},
            "remedies.yaml:8: `remedies.0.steps.0.action.parameters.count` is 'desired', expected an expression",
        ),
        ({"other": FLEET}, "other.yaml:2: `name` is 'shop', expected a name that no other Fleet has: fleet.yaml has"),
        ({"bundle": BUNDLE.replace("halted ==", "hatled ==")}, "bundle.yaml:7: "),
        (
            {"bundle": BUNDLE + "tests: [{name: odd, facts: {}, expect: {verdict: deny}}]\n"},
            "bundle.yaml:8: test `odd`: verdict is allow, expected deny",
        ),
    ],
)
def test_documents_are_checked_against_each_other(tmp_path: Path, changed: dict[str, str], finding: str) -> None:
    texts = {"fleet": FLEET, "slos": OBJECTIVES, "remedies": REMEDIES, "bundle": BUNDLE} | changed
    found = findings(write(tmp_path, **texts))
    assert any(str(each).startswith(finding) for each in found), found


@pytest.mark.parametrize("fleet", [FLEET.replace("tier: 1", "tier: first"), "kind: Fleet\nname: [shop"])
def test_what_a_broken_document_would_have_named_is_no_second_finding(tmp_path: Path, fleet: str) -> None:
    slos = OBJECTIVES.replace("short_window_ms: 10000", "short_window_ms: 90000")
    found = findings(write(tmp_path, fleet=fleet, slos=slos))
    assert [(each.file, each.field) for each in found] == [
        ("fleet.yaml", "services.0.tier" if "first" in fleet else ""),
        ("slos.yaml", "objectives.0.alerts.0.short_window_ms"),
    ]


def test_a_domain_never_moves_to_another_partition(tmp_path: Path) -> None:
    loaded, _ = read_folder(write(tmp_path, fleet=FLEET))
    in_force = Configuration().with_activated([item.document() for item in loaded])
    (moved,) = findings(write(tmp_path, fleet=FLEET.replace("partition: 0", "partition: 1")), in_force)
    assert (moved.line, moved.value) == (4, "1")
    assert "history stays in its partition" in moved.expected
    assert findings(write(tmp_path, fleet=FLEET), in_force) == []


def test_objectives_may_name_a_service_that_is_in_force_already(tmp_path: Path) -> None:
    fleet, _ = read_folder(write(tmp_path, fleet=FLEET))
    (tmp_path / "fleet.yaml").unlink()
    in_force = Configuration().with_activated([item.document() for item in fleet])
    assert findings(write(tmp_path, slos=OBJECTIVES), in_force) == []


def test_an_empty_folder_is_a_finding(tmp_path: Path) -> None:
    (finding,) = findings(tmp_path)
    assert "no .yaml or .yml file" in str(finding)


# -- whose activation counts -------------------------------------------------------------------------------------------

ADA, CARL = SigningKey.generate("ada"), SigningKey.generate("carl")


def signers(**roles: list[str]) -> Configuration:
    keys = {"ada": ADA, "carl": CARL}
    people = [Principal(name=name, public_key=keys[name].public_key, roles=given) for name, given in roles.items()]
    return Configuration().with_activated([document(Signers(name="all", signers=people).model_dump(mode="json"))])


def test_the_first_activation_must_bring_signers() -> None:
    (finding,) = check_author(Configuration(), [], ADA)
    assert "the first activation must bring one" in finding.expected


@pytest.mark.parametrize(
    ("in_force", "brings_signers", "finding"),
    [
        (signers(ada=[Role.ADMINISTRATOR]), True, None),
        (signers(ada=[Role.AUTHOR]), False, None),
        (signers(ada=[Role.AUTHOR]), True, "role administrator"),
        (signers(ada=[Role.APPROVER]), False, "role administrator or author"),
        (signers(carl=[Role.ADMINISTRATOR]), False, "key is in the signer list: carl"),
    ],
)
def test_an_author_without_the_right_is_told_before_anything_is_written(
    in_force: Configuration, brings_signers: bool, finding: str | None
) -> None:
    documents = signers(ada=[Role.ADMINISTRATOR]).of_kind("Signers") if brings_signers else []
    found = check_author(in_force, documents, ADA)
    assert [finding is not None and finding in each.expected for each in found] == ([True] if finding else [])


def test_what_changes_is_listed_and_nothing_when_nothing_does(tmp_path: Path) -> None:
    documents = [item.document() for item in read_folder(write(tmp_path, fleet=FLEET, slos=OBJECTIVES))[0]]
    in_force = Configuration().with_activated(documents)
    assert changes(Configuration(), documents) == ["+ Fleet shop", "+ ServiceLevelObjectives shop"]
    assert changes(in_force, documents) == []
    (fleet,) = [item.document() for item in read_folder(write(tmp_path, fleet=FLEET.replace("team", "crew")))[0][:1]]
    assert changes(in_force, [fleet]) == ["~ Fleet shop"]
    renamed = fleet.model_copy(update={"name": "store"})
    assert changes(in_force, [renamed]) == ["+ Fleet store", "- Fleet shop"]


def test_the_order_of_documents_does_not_change_the_revision(tmp_path: Path) -> None:
    documents = [item.document() for item in read_folder(write(tmp_path, fleet=FLEET, slos=OBJECTIVES))[0]]
    assert activation(documents, "ada", "") == activation(documents[::-1], "ada", "")


def test_the_keys_of_a_new_home_make_a_signer_list(tmp_path: Path) -> None:
    ensure_first_principals(tmp_path)
    add_principal(tmp_path, "ada", ["database-approvers"])
    listed = {signer.name: signer.roles for signer in signers_of(tmp_path, administrator="ada").signers}
    assert listed["ada"] == ["administrator", "database-approvers"]
    assert {name: roles for name, roles in listed.items() if name != "ada"} == ROLES_OF_NEW
    assert not set(listed["approver"]) & {"administrator", "author"}


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("revertt", "`remedies.0.steps.0.compensation` is 'revertt', expected a mapping of fields or 'revert'"),
        (
            "{verb: scale, more: 1}",
            "`remedies.0.steps.0.compensation.more` is 1, expected nothing: there is no such field here",
        ),
        ("{verb: 1}", "`remedies.0.steps.0.compensation.verb` is 1, expected a valid string"),
    ],
)
def test_what_may_stand_at_a_place_is_told_once_and_the_place_as_it_was_written(
    tmp_path: Path, written: str, told: str
) -> None:
    catalogue = (
        "kind: RemedyCatalogue\nname: shop\nremedies:\n  - {name: restart, summary: x, risk_class: low, "
        f"steps: [{{id: a, driver: supervisord, action: {{verb: restart}}, compensation: {written}}}]}}\n"
    )
    file = tmp_path / "remedies.yaml"
    file.write_text(catalogue)
    _, findings = read_file(file, "remedies.yaml")
    assert [str(finding).partition(": ")[2] for finding in findings] == [told]


def test_a_name_that_cannot_be_one_is_told_what_names_are_made_of(tmp_path: Path) -> None:
    file = tmp_path / "calendar.yaml"
    file.write_text("kind: Calendar\nname: Shop One\nchange_windows: []\n")
    _, findings = read_file(file, "calendar.yaml")
    assert [finding.expected.partition(" digits")[0] for finding in findings] == ["at most 64 lower-case letters,"]
