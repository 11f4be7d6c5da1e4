"""Settings: what is read from where, what wins, and what is said when something is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mirror import config_file
from mirror.config import GROUPS, ITEMS, SETTINGS, Host, Settings, Superdataset, TextInGit
from mirror.config_layers import Loaded, load, variable_of
from mirror.errors import ConfigError
from mirror.sync.dandiset import layout_of

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and no configuration in the home folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    return tmp_path


@pytest.fixture
def write(here: Path) -> Callable[[str], Path]:
    """Writes `dandi-mirror.yaml` in the current folder."""

    def write(text: str) -> Path:
        path = here / "dandi-mirror.yaml"
        path.write_text(text)
        return path

    return write


def complaints(file: Path | None = None, **options: object) -> list[str]:
    """The lines of the error that loading ends in."""
    with pytest.raises(ConfigError) as caught:
        load(file, options)
    assert caught.value.exit_code == 2
    return caught.value.message.splitlines()


def origin(loaded: Loaded, key: str) -> str:
    return str(loaded.origins[key])


# --- defaults and shipped files ----------------------------------------------------------------------------------


def test_without_anything_the_defaults_hold(here: Path) -> None:
    loaded = load()
    assert loaded.settings == Settings()
    assert loaded.settings.flat() == {
        "archive.instance": "dandi",
        "archive.api_url": "https://api.dandiarchive.org/api",
        "archive.s3_endpoint": None,
        "archive.s3_version_ids": True,
        "archive.settle_seconds": 120,
        "store": here / "dandi-mirror",
        "select.dandisets": "all",
        "select.exclude": (),
        "select.assets": None,
        "select.embargoed": False,
        "text_in_git.max_bytes": 1048576,
        "zarr.hold": "repository",
        "zarr.repository_max_entries": None,
        "superdatasets": (),
        "publish.url": None,
        "publish.hosts": (),
        "content": (),
        "backup": (),
        "verify.level": "bytes",
        "verify.requests_per_second": 20.0,
        "annex_metadata": True,
        "jobs": 2,
        "executor": "local",
        "schedule.poll": "10m",
        "schedule.recheck": "0 2 * * *",
        "schedule.recheck_days": 30,
        "schedule.maintain": "0 4 * * *",
        "schedule.content": "1h",
        "schedule.verify": "0 3 * * *",
        "schedule.verify_days": 90,
        "schedule.jitter": "30s",
        "stop_seconds": 60,
        "alarm_after": 5,
        "metrics": None,
        "on_failure": None,
    }
    assert {str(value) for value in loaded.origins.values()} == {"default"}
    assert loaded.file is None


def test_the_shipped_file_for_dandi_spells_out_every_default() -> None:
    path = ROOT / "config" / "dandi.yaml"
    loaded = load(path)
    assert loaded.settings == Settings()
    assert {value.kind for value in loaded.origins.values()} == {"file"}


def test_the_shipped_file_for_the_demo_names_no_real_archive() -> None:
    archive = load(ROOT / "config" / "demo.yaml").settings.archive
    assert (archive.instance, archive.settle_seconds) == ("demo", 0)
    assert archive.api_url.startswith("http://127.0.0.1:")
    assert archive.s3_endpoint is not None
    assert archive.s3_endpoint.startswith("http://127.0.0.1:")


def test_every_setting_says_what_it_is() -> None:
    assert [key for key, field in SETTINGS.items() if not field.description] == []
    for item in ITEMS.values():
        assert [name for name, field in item.model_fields.items() if not field.description] == []


# --- layers ------------------------------------------------------------------------------------------------------


def test_a_later_layer_overrules_an_earlier_one_setting_by_setting(
    write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    write("jobs: 3\nannex_metadata: false\nstore: /from/file\nselect:\n  exclude: [000001]\n")
    monkeypatch.setenv("DANDI_MIRROR_JOBS", "4")
    monkeypatch.setenv("DANDI_MIRROR_STORE", "/from/environment")
    loaded = load(options={"jobs": 5})

    assert (loaded.settings.jobs, origin(loaded, "jobs")) == (5, "option -J")
    assert loaded.settings.store == Path("/from/environment")
    assert origin(loaded, "store") == "variable DANDI_MIRROR_STORE"
    assert loaded.settings.annex_metadata is False
    assert origin(loaded, "annex_metadata") == "dandi-mirror.yaml:2"
    assert loaded.settings.select.exclude == ("000001",)
    assert origin(loaded, "select.exclude") == "dandi-mirror.yaml:5"
    assert origin(loaded, "select.dandisets") == "default"


def test_one_file_is_read_the_named_one_first(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("xdg/dandi-mirror/config.yaml", "dandi-mirror.yaml", "variable.yaml", "option.yaml")
    read = []
    for jobs, place in enumerate([here / name for name in names], start=10):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"jobs: {jobs}\n")
        if place.name == "variable.yaml":
            monkeypatch.setenv("DANDI_MIRROR_CONFIG", str(place))
        read.append(load(place if place.name == "option.yaml" else None).settings.jobs)
    assert read == [10, 11, 12, 13]


def test_variables_take_text_as_it_stands_and_the_rest_as_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {
        "SELECT__ASSETS": "[ab]: {1,2}",  # not YAML, but a regular expression
        "SELECT__DANDISETS": "[000027, '000108']",
        "ARCHIVE__S3_ENDPOINT": "null",
        "ARCHIVE__S3_VERSION_IDS": "false",
        "JOBS": "",  # as good as not set
    }.items():
        monkeypatch.setenv(f"DANDI_MIRROR_{name}", text)
    settings = load().settings
    assert settings.select.assets == "[ab]: {1,2}"
    assert settings.select.dandisets == ("000027", "000108")
    assert settings.archive.s3_endpoint is None
    assert settings.archive.s3_version_ids is False
    assert settings.jobs == 2


def test_every_setting_can_be_set_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in Settings().flat().items():
        monkeypatch.setenv(variable_of(key), str(value) if isinstance(value, str | Path) else json.dumps(value))
    loaded = load()
    assert loaded.settings == Settings()
    assert {value.kind for value in loaded.origins.values()} == {"environment"}


def test_a_relative_store_starts_at_the_current_folder_wherever_the_file_lies(here: Path) -> None:
    (here / "sub").mkdir()
    path = here / "sub" / "a.yaml"
    path.write_text("store: ./there\n")
    assert load(path).settings.store == here / "there"


def test_a_tilde_is_the_home_folder(write: Callable[[str], Path], isolated_home: Path) -> None:
    write("store: ~/mirror\n")
    assert load().settings.store == isolated_home / "mirror"


def test_a_group_may_be_left_empty(write: Callable[[str], Path]) -> None:
    write("archive:\n  # instance: dandi\nselect:\n")
    assert load().settings == Settings()


def test_unquoted_identifiers_are_not_taken_for_octal_numbers(write: Callable[[str], Path]) -> None:
    write("select:\n  dandisets: [000027, 000108]\n  exclude:\n  - 000010\n")
    select = load().settings.select
    assert (select.dandisets, select.exclude) == (("000027", "000108"), ("000010",))


# --- which archive -----------------------------------------------------------------------------------------------


def test_a_known_instance_brings_its_url() -> None:
    loaded = load(options={"archive.instance": "dandi-sandbox"})
    assert loaded.settings.archive.api_url == "https://api.sandbox.dandiarchive.org/api"
    assert origin(loaded, "archive.api_url") == "from archive.instance"
    assert loaded.token_variable == "DANDI_SANDBOX_API_KEY"


def test_the_case_of_an_instances_name_does_not_matter() -> None:
    assert load(options={"archive.instance": "DANDI"}).settings == Settings()


@pytest.mark.parametrize(
    ("url", "instance"),
    [("https://api.lincbrain.org/api/", "linc"), ("http://127.0.0.1:8000/api", "custom")],
)
def test_the_instance_option_takes_a_url(url: str, instance: str) -> None:
    loaded = load(options={"archive.instance": url})
    assert (loaded.settings.archive.instance, loaded.settings.archive.api_url) == (instance, url.rstrip("/"))
    assert origin(loaded, "archive.api_url") == "option -i"
    assert origin(loaded, "archive.instance") == "from archive.api_url"


def test_an_archive_named_by_a_later_layer_mixes_with_nothing_of_an_earlier_one(
    write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    write("archive: {instance: lab, api_url: 'http://lab/api', s3_endpoint: 'http://lab:9000', settle_seconds: 7}\n")
    sandbox = load(options={"archive.instance": "dandi-sandbox"}).settings.archive
    assert (sandbox.api_url, sandbox.s3_endpoint) == ("https://api.sandbox.dandiarchive.org/api", None)
    assert sandbox.settle_seconds == 7

    monkeypatch.setenv("DANDI_MIRROR_ARCHIVE__API_URL", "http://elsewhere/api")
    elsewhere = load()
    assert elsewhere.settings.archive.s3_endpoint is None
    assert elsewhere.token_variable == "CUSTOM_API_KEY"  # the lab's token stays in the lab


def test_the_same_archive_named_again_changes_nothing(write: Callable[[str], Path]) -> None:
    write("archive: {instance: lab, api_url: 'http://lab/api', s3_endpoint: 'http://lab:9000'}\n")
    assert load(options={"archive.instance": "lab"}).settings == load().settings


def test_a_url_alone_in_a_file_does_not_get_the_name_of_the_default(write: Callable[[str], Path]) -> None:
    write("archive:\n  api_url: http://lab/api\n")
    assert load().token_variable == "CUSTOM_API_KEY"
    assert load(options={"archive.instance": "dandi"}).settings == Settings()


def test_an_unknown_instance_without_url_names_the_nearest_known() -> None:
    (line,) = complaints(**{"archive.instance": "dandi-sandbok"})
    assert line.startswith("option -i: archive.instance: no archive is known as 'dandi-sandbok'")
    assert "`dandi-sandbox`" in line
    assert "archive.api_url" in line


# --- what is wrong -----------------------------------------------------------------------------------------------


def test_everything_wrong_is_told_at_once_with_its_place(
    write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        "archive:\n  instanse: dandi\n  settle_seconds: soon\nstore: 5\nselekt: {}\nselect:\n  dandisets: [27]\n"
        "  assets: '[a'\nmax_bytes: 3\nstore: x\njobs: true\n"
    )
    monkeypatch.setenv("DANDI_MIRROR_JOBZ", "3")
    monkeypatch.setenv("DANDI_MIRROR_TEXT_IN_GIT__MAX_BYTES", "-1")
    monkeypatch.setenv("DANDI_MIRROR_ANNEX_METADATA", "[")
    assert [line.split(": ", 1) for line in complaints()] == [
        ["dandi-mirror.yaml:2", "archive.instanse: no such setting; the nearest known one is `archive.instance`"],
        ["dandi-mirror.yaml:5", "selekt: no such setting; the nearest known one is `select`"],
        ["dandi-mirror.yaml:9", "max_bytes: no such setting; the nearest known one is `text_in_git.max_bytes`"],
        ["dandi-mirror.yaml:10", "store: written twice, first in line 4"],
        [
            "environment",
            "DANDI_MIRROR_ANNEX_METADATA: not YAML: while parsing a flow node expected the node content, "
            "but found '<stream end>'",
        ],
        ["environment", "DANDI_MIRROR_JOBZ: no such setting; the nearest known one is DANDI_MIRROR_JOBS"],
        ["dandi-mirror.yaml:3", 'archive.settle_seconds: expected a whole number, 0 or more, not "soon"'],
        ["dandi-mirror.yaml:4", "store: expected a folder, not 5"],
        [
            "dandi-mirror.yaml:7",
            "select.dandisets: expected `all` or a list of Dandiset identifiers of six digits, "
            "such as [000027, 000108], not 27",
        ],
        [
            "dandi-mirror.yaml:8",
            'select.assets: expected a regular expression, or null, not "[a": unterminated character set at position 0',
        ],
        [
            "variable DANDI_MIRROR_TEXT_IN_GIT__MAX_BYTES",
            "text_in_git.max_bytes: expected a whole number, 0 or more, not -1",
        ],
        ["dandi-mirror.yaml:11", "jobs: expected a whole number, 1 or more, not true"],
    ]


@pytest.mark.parametrize("place", ["file", "environment"])
@pytest.mark.parametrize("name", ["token", "api_key", "password"])
def test_a_secret_is_refused_and_not_repeated(
    place: str, name: str, write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    if place == "file":
        write(f"archive:\n  {name}: hunter2\n")
    else:
        monkeypatch.setenv(f"DANDI_MIRROR_{name.upper()}", "hunter2")
    (line,) = complaints()
    assert "DANDI_API_KEY" in line
    assert "hunter2" not in line


@pytest.mark.parametrize("key", ["api_url", "s3_endpoint"])
def test_a_password_in_a_url_is_refused_and_not_repeated(key: str, write: Callable[[str], Path]) -> None:
    write(
        "archive:\n  instance: lab\n  api_url: http://lab/api\n  s3_endpoint: null\n".replace(
            "http://lab/api" if key == "api_url" else "null", "http://me:hunter2@lab/api"
        )
    )
    (line,) = complaints()
    assert f"archive.{key}" in line
    assert "hunter2" not in line


@pytest.mark.parametrize("url", ["ftp://x/api", "api.dandiarchive.org", "https://", "http://h:99999/", "http://h/?a=1"])
def test_what_is_not_the_url_of_an_api_is_refused(url: str, write: Callable[[str], Path]) -> None:
    write(f"archive: {{instance: lab, api_url: '{url}'}}\n")
    (line,) = complaints()
    assert line.startswith("dandi-mirror.yaml:1: archive.api_url: expected an http(s) URL, not ")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("jobs: [1\n", "2: not YAML: while parsing a flow sequence expected ',' or ']', but got '<stream end>'"),
        ("just words\n", "1: expected settings, one `name: value` a line"),
        ("jobs: 1\n? [a]\n: 2\n", "2: expected the name of a setting"),
        ("archive: dandi\n", "1: archive: a group of settings: write them below it, indented"),
        ("jobs: !!python/object:os.system {}\n", "1: not YAML: could not determine a constructor"),
        ("jobs: 1\n---\njobs: 2\n", "2: not YAML: expected a single document in the stream but found another document"),
        ("archive:\n  instance: dandi\n  instance: linc\n", "3: archive.instance: written twice, first in line 2"),
        ("jobs: 1\nselect:\n  exclude: &a [000001, *a]\n", "3: select.exclude[1]: holds itself"),
        ("jobs: !!int many\n", "1: not YAML: found a value that its tag does not allow"),
        ("jobs: " + "[" * 5000 + "\n", "1: nested too deeply"),
        ("archive.instance: linc\narchive: {instance: linc}\n", "2: archive.instance: written twice, first in line 1"),
        ('select: {assets: "a\\nb"}\n', "1: select.assets: expected a regular expression, or null"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(text: str, complaint: str, write: Callable[[str], Path]) -> None:
    write(text)
    (line,) = complaints()
    assert line.startswith(f"dandi-mirror.yaml:{complaint}")


def test_a_file_that_is_not_there_is_an_error_when_it_was_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = here / "missing.yaml"
    assert complaints(missing) == [f"{missing}: cannot be read: No such file or directory"]
    monkeypatch.setenv("DANDI_MIRROR_CONFIG", str(missing))
    assert complaints() == [f"{missing}: cannot be read: No such file or directory"]


def test_a_file_in_another_encoding_is_refused(write: Callable[[str], Path]) -> None:
    write("").write_bytes("store: caf\u00e9\n".encode("latin-1"))
    assert complaints() == ["dandi-mirror.yaml: not a text in UTF-8"]


@given(st.text())
def test_no_text_whatever_makes_reading_fail_otherwise_than_by_a_complaint(text: str) -> None:
    contents = config_file.read(text, GROUPS)
    lines = text.count("\n") + text.count("\r") + text.count("\x85") + text.count("\u2028") + text.count("\u2029") + 1
    assert all(1 <= item.line <= lines for item in [*contents.entries, *contents.problems])


# --- superdatasets and hosts -------------------------------------------------------------------------------------

LISTS = """\
superdatasets:
- name: mice
  where: species ~ 'Mus musculus'
- {name: small, where: size < 1GB}
publish:
  url: https://mirror.example.org/
  hosts:
  - name: lab
    kind: forgejo
    url: https://git.example.org/api/v1/
    owner: dandi
    push_url: ssh://git@git.example.org/{owner}/{name}.git
    private: true
  - name: backup
    kind: ria
    url: /backup/dandi
  - {name: shelf, kind: plain, url: 'git@shelf:{name}.git', create: 'ssh git@shelf git init --bare {name}.git'}
"""


def test_superdatasets_and_hosts_are_lists_of_things_with_settings_of_their_own(write: Callable[[str], Path]) -> None:
    write(LISTS)
    loaded = load()
    assert loaded.settings.superdatasets == (
        Superdataset(name="mice", where="species ~ 'Mus musculus'"),
        Superdataset(name="small", where="size < 1GB"),
    )
    assert loaded.settings.publish.url == "https://mirror.example.org"
    lab, backup, shelf = loaded.settings.publish.hosts
    assert lab == Host(
        name="lab",
        kind="forgejo",
        url="https://git.example.org/api/v1",
        owner="dandi",
        push_url="ssh://git@git.example.org/{owner}/{name}.git",
        private=True,
    )
    assert (backup.zarrs, backup.releases, backup.private, backup.token_variable) == (True, True, False, None)
    assert shelf.create == "ssh git@shelf git init --bare {name}.git"
    assert origin(loaded, "publish.hosts") == "dandi-mirror.yaml:7"


def test_lists_can_be_set_by_a_variable_as_they_are_shown(
    write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(LISTS)
    in_file = load().settings
    path.unlink()
    for key, value in in_file.flat().items():
        monkeypatch.setenv(variable_of(key), str(value) if isinstance(value, str | Path) else json.dumps(value))
    assert load().settings == in_file
    assert in_file.flat()["superdatasets"] == (
        {"name": "mice", "where": "species ~ 'Mus musculus'"},
        {"name": "small", "where": "size < 1GB"},
    )
    monkeypatch.setenv("DANDI_MIRROR_PUBLISH__HOSTS", "[{name: elsewhere, kind: github, owner: dandi-mirrors}]")
    assert load().settings.publish.hosts == (Host(name="elsewhere", kind="github", owner="dandi-mirrors"),)


def test_a_list_of_which_everything_is_commented_out_is_empty(write: Callable[[str], Path]) -> None:
    write("superdatasets:\n# - name: mice\npublish:\n  hosts:\nselect:\n  exclude:\n")
    assert load().settings == Settings()


def test_everything_wrong_in_a_list_is_told_with_its_place_and_line(write: Callable[[str], Path]) -> None:
    write("""\
superdatasets:
- name: Mice
  where: specie ~ mouse
- where: doi is missing
  wehre: doi is missing
- mice
publish:
  hosts:
  - name: lab
    kind: [git]
  - {name: b, kind: git, owner: '', zarrs: 1,
     url: ''}
""")
    needs = "expected settings of its own, at least"
    kinds = "expected `plain`, `github`, `forgejo`, `gitea`, `gitlab` or `ria`"
    assert complaints() == [
        'dandi-mirror.yaml:2: superdatasets[0].name: expected a name of small letters, digits, `-` and `_`, not "Mice"',
        "dandi-mirror.yaml:3: superdatasets[0].where: no such field; the nearest is `species`",
        "  specie ~ mouse",
        "  ^",
        "dandi-mirror.yaml:4: superdatasets[1].name is missing: expected a name of small letters, digits, `-` and `_`",
        "dandi-mirror.yaml:5: superdatasets[1].wehre: no such setting; the nearest known one is `where`",
        f'dandi-mirror.yaml:6: superdatasets[2]: {needs} `name` and `where`, not "mice"',
        f'dandi-mirror.yaml:10: publish.hosts[0].kind: {kinds}, not ["git"]',
        f'dandi-mirror.yaml:11: publish.hosts[1].kind: {kinds}, not "git"',
        'dandi-mirror.yaml:12: publish.hosts[1].url: expected a URL or a path, without a password, or null, not ""',
        "dandi-mirror.yaml:11: publish.hosts[1].owner: expected the name of an organization, group or user, or null,"
        ' not ""',
        "dandi-mirror.yaml:11: publish.hosts[1].zarrs: expected true or false, not 1",
    ]


@pytest.mark.parametrize(
    ("host", "complaint"),
    [
        ("kind: plain", ".url: a host of kind plain needs it: the address of one repository, with `{name}` in it"),
        ("kind: ria", ".url: a host of kind ria needs it: where the store is, a path or an ssh URL"),
        ("kind: github", ".owner: a host of kind github needs it: the organization, group or user that has the"),
        ("kind: forgejo, owner: me", ".url: a host of kind forgejo needs it: that of its API, such as https://"),
        ("kind: github, owner: me, create: 'x {name}'", ".create: a host of kind github has none"),
        ("kind: ria, url: /a, token_variable: A", ".token_variable: a host of kind ria has none"),
        ("kind: plain, url: '/a/{name}', owner: me", ".owner: a host of kind plain has none"),
        ("kind: plain, url: /a", ".url: it has `{name}` in it, where each repository's name is put"),
        ("kind: plain, url: '/a/{name}', create: make", ".create: it has `{name}` in it"),
        ("kind: github, owner: me, push_url: git@github.com:me/x", ".push_url: it has `{name}` in it"),
        ("kind: gitlab, owner: me, url: gitlab.com/api/v4", ".url: the URL of an API starts with http:// or https://"),
        ("kind: ria, url: --upload-pack=x", ".url: expected a URL or a path"),
        ("kind: ria, url: 'backup:dandi'", ".url: a store is at a path, or at ssh://host/path"),
        ("kind: ria, url: 'git@backup.example.org:/srv/dandi'", ".url: a store is at a path, or at ssh://host/path"),
        ("kind: ria, url: https://example.org/dandi", ".url: a store is at a path, or at ssh://host/path"),
        ("kind: ria, url: file://backup/srv/dandi", ".url: a store is at a path, or at ssh://host/path"),
        ("kind: ria, url: ssh://backup", ".url: a store is at a path, or at ssh://host/path"),
        ("kind: ria, url: '/srv/{name}'", ".url: it has no `{name}` in it: a store holds all repositories"),
        ("kind: ria, url: ssh://h:99999/x", ".url: expected a URL or a path"),
        ("kind: ria, url: ria+ssh://h:port/x", ".url: expected a URL or a path"),
        ("kind: ria, url: ssh://h:0/x", ".url: expected a URL or a path"),
        ("kind: plain, url: 'ssh://h:99999/{name}'", ".url: expected a URL or a path"),
        ("kind: plain, url: 'git://h:port/{name}'", ".url: expected a URL or a path"),
        ("kind: plain, url: '~nobody-of-that-name/{name}'", ".url: expected a URL or a path"),
        ("kind: forgejo, owner: me, url: 'https://h:99999/api/v1'", ".url: expected a URL or a path"),
        ("kind: github, owner: me, push_url: 'ssh://h:port/{name}'", ".push_url: expected a URL"),
    ],
)
def test_a_host_has_what_its_kind_needs_and_nothing_that_would_do_nothing(
    host: str, complaint: str, write: Callable[[str], Path]
) -> None:
    write(f"publish:\n  hosts:\n  - name: a\n    kind: ria\n    url: /a\n  - {{name: b, {host}}}\n")
    (line,) = complaints()
    assert line.startswith(f"dandi-mirror.yaml:6: publish.hosts[1]{complaint}")


@pytest.mark.parametrize(
    ("kind", "given", "found"),
    [
        ("ria", "copy", "{here}/copy"),
        ("ria", "../copy/", "{above}/copy"),
        ("ria", "~/copy", "{home}/copy"),
        ("ria", "ria+file:///srv/copy", "ria+file:///srv/copy"),
        ("ria", "ssh://me@backup:2222/srv/copy", "ssh://me@backup:2222/srv/copy"),
        ("plain", "shelf/{name}.git", "{here}/shelf/{name}.git"),
        ("plain", "~/shelf/{name}", "{home}/shelf/{name}"),
        ("plain", "backup:shelf/{name}", "backup:shelf/{name}"),
        ("plain", "ssh://backup/~/shelf/{name}", "ssh://backup/~/shelf/{name}"),
    ],
)
def test_a_hosts_path_starts_at_the_current_folder_and_a_tilde_is_home(
    here: Path, isolated_home: Path, kind: str, given: str, found: str, write: Callable[[str], Path]
) -> None:
    write(f"publish:\n  hosts:\n  - {{name: a, kind: {kind}, url: '{given}'}}\n")
    expected = found.format(here=here, above=here.parent, home=isolated_home, name="{name}")
    assert load().settings.publish.hosts[0].url == expected


def test_two_of_one_name_are_refused(write: Callable[[str], Path]) -> None:
    write("""\
superdatasets: [{name: mice, where: doi is missing}, {name: mice, where: doi is present}]
publish:
  hosts:
  - {name: a, kind: ria, url: /a}
  - {name: b, kind: ria, url: /a}
  - kind: ria
    url: /a
    name: a
""")
    assert complaints() == [
        "dandi-mirror.yaml:1: superdatasets[1].name: there are two of the name 'mice'",
        "dandi-mirror.yaml:8: publish.hosts[2].name: there are two of the name 'a'",
    ]


def test_a_setting_written_twice_in_one_thing_of_a_list_is_refused(
    write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "[{name: a, kind: ria, url: /a},\n  {name: b, kind: ria, url: /b, name: c}]"
    write(f"publish:\n  hosts: {text}\n")
    monkeypatch.setenv("DANDI_MIRROR_PUBLISH__HOSTS", text)
    assert complaints() == [
        "dandi-mirror.yaml:3: publish.hosts[1].name: written twice, first in line 3",
        "environment: DANDI_MIRROR_PUBLISH__HOSTS: [1].name: written twice, first in line 2",
    ]


def test_what_an_alias_repeats_is_wrong_where_it_is_written(write: Callable[[str], Path]) -> None:
    write("publish:\n  hosts:\n  - &one {name: a, kind: git}\n  - *one\n")
    assert [line.split(": expected")[0] for line in complaints()] == [
        "dandi-mirror.yaml:3: publish.hosts[0].kind",
        "dandi-mirror.yaml:3: publish.hosts[1].kind",
    ]


@pytest.mark.parametrize("name", ["dandisets", "000027", "2026-01", "1f0b0c5c-8a5c-4b2d-9c59-7f2f4a2b3c4d"])
def test_a_superdatasets_name_is_not_that_of_another_dataset(name: str, write: Callable[[str], Path]) -> None:
    write(f"superdatasets:\n- name: '{name}'\n  where: doi is missing\n")
    (line,) = complaints()
    assert line.startswith("dandi-mirror.yaml:2: superdatasets[0].name: expected a name of small letters")
    assert "taken for" in line or "always there" in line


@pytest.mark.parametrize(
    "host",
    [
        "{name: a, kind: github, owner: me, token: hunter2}",
        "{name: a, kind: github, owner: me, api_key: hunter2}",
        "{name: a, kind: github, owner: me, token_varible: hunter2}",
        "{name: a, kind: github, owner: me, token_variable: ghp_hunter2}",
        "{name: a, kind: github, owner: me, token_variable: [hunter2]}",
        "{name: a, kind: github, owner: me, push_url: 'https://me:hunter2@github.com/{owner}/{name}'}",
        "{name: a, kind: github, owner: me, push_url: 'https://hunter2@github.com/{owner}/{name}'}",
        "{name: a, kind: plain, url: 'ssh://me:hunter2@git.example.org/{name}'}",
        "{name: a, kind: gitlab, owner: me, url: 'https://gitlab.com/api?private_token=hunter2'}",
        "{name: a, kind: {token: hunter2}}",
    ],
)
@pytest.mark.parametrize("place", ["file", "environment"])
def test_a_hosts_secret_is_refused_and_not_repeated(
    place: str, host: str, write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    if place == "file":
        write(f"publish:\n  hosts:\n  - {host}\n")
    else:
        monkeypatch.setenv("DANDI_MIRROR_PUBLISH__HOSTS", f"[{host}]")
    (line,) = complaints()
    assert "publish.hosts[0]." in line
    assert "hunter2" not in line


def test_where_a_hosts_token_is_looked_for_is_told(
    write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    write("publish:\n  token: hunter2\n  hosts:\n  - {name: a, kind: github, owner: me, token: hunter2}\n")
    monkeypatch.setenv("DANDI_MIRROR_PUBLISH__HOSTS__TOKEN", "hunter2")
    answer = "a host's token is read from the environment variable that its `token_variable` names"
    assert [line.endswith(f"a secret has no place in the settings; {answer}") for line in complaints()] == [True] * 3


@pytest.mark.parametrize("key", ["hosts", "url"])
def test_a_secret_in_what_should_be_something_else_is_not_repeated(key: str, write: Callable[[str], Path]) -> None:
    write(f"publish:\n  {key}: {{name: a, token: hunter2, more: [{{password: hunter2}}]}}\n")
    (line,) = complaints()
    assert line.startswith(f"dandi-mirror.yaml:2: publish.{key}: expected ")
    assert "hunter2" not in line


_SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["ria", "github", "a"])
_KEYS = st.sampled_from([*Host.model_fields, *Superdataset.model_fields, "token"]) | st.text(max_size=3) | st.integers()
_THINGS = st.dictionaries(_KEYS, _SCALARS | st.lists(_SCALARS, max_size=2)) | _SCALARS


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # an empty current folder, for all alike
@given(key=st.sampled_from([*ITEMS]), value=_SCALARS | _THINGS | st.lists(_THINGS, max_size=3))
def test_whatever_a_list_holds_it_is_read_or_complained_of(key: str, value: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(variable_of(key), yaml.safe_dump(value, allow_unicode=False))
        try:
            load()
        except ConfigError as error:
            assert variable_of(key) in error.message  # noqa: PT017 - most are wrong, some are not


# --- the model ---------------------------------------------------------------------------------------------------


def test_layout_settings_are_those_that_change_trees_and_are_not_default(
    write: Callable[[str], Path],
) -> None:
    assert layout_of(Settings()).trailer == "2"
    write("jobs: 9\ntext_in_git: {max_bytes: 0}\nselect: {assets: '\\.nwb$', exclude: [000003]}\n")
    # As in a trailer, where a backslash is escaped.
    assert layout_of(load().settings).trailer == r"2 select.assets=\\.nwb$ text_in_git.max_bytes=0"


@pytest.mark.parametrize(("hold", "trailer"), [("repository", "2"), ("manifest", "2"), ("none", "2 zarr.hold=none")])
def test_how_zarrs_are_held_is_part_of_the_layout_only_where_they_are_left_out(hold: str, trailer: str) -> None:
    settings = Settings.model_validate({"zarr": {"hold": hold, "repository_max_entries": 10}})
    assert layout_of(settings).trailer == trailer


def test_settings_are_frozen_and_refuse_what_they_do_not_know() -> None:
    with pytest.raises(ValidationError):
        Settings().jobs = 3  # type: ignore[misc]
    with pytest.raises(ValidationError):
        TextInGit.model_validate({"max_bites": 1})
