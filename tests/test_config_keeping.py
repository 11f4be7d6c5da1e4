"""The settings of content, backups and proofs: what is taken, and what is said of what is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mirror.config import BackupRemote, ContentRule, Settings
from mirror.config_layers import load
from mirror.errors import ConfigError


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))

    def write(text: str) -> Path:
        path = tmp_path / "dandi-mirror.yaml"
        path.write_text(text)
        return path

    return write


def settings_of(path: Path) -> Settings:
    return load(path).settings


def complaint(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return caught.value.message


def test_rules_say_which_content_of_what_and_how_much(write: Callable[[str], Path]) -> None:
    path = write("content:\n- {where: species ~ mouse, versions: all, budget: 2TB}\n- {budget: 1000000}\n- {}\n")
    assert settings_of(path).content == (
        ContentRule(where="species ~ mouse", versions="all", budget=2 * 10**12),
        ContentRule(budget=1_000_000),
        ContentRule(),
    )


@pytest.mark.parametrize("size", ["much", "2 T B x", "-1", "-1GB", "true"])
def test_a_budget_is_a_size(write: Callable[[str], Path], size: str) -> None:
    assert "content[0].budget" in (said := complaint(write(f"content: [{{budget: {size}}}]\n")))
    assert "a size, such as 2TB, or null" in said


def test_a_query_that_cannot_be_understood_is_shown(write: Callable[[str], Path]) -> None:
    assert "specis" in complaint(write("content: [{where: specis ~ mouse}]\n"))


def test_backups_are_special_remotes_with_git_annex_own_parameters(write: Callable[[str], Path]) -> None:
    path = write(
        "backup:\n- {name: nas, type: directory, options: {directory: /nas/dandi}}\n"
        "- {name: s3, type: S3, options: {bucket: b, port: 9000, encryption: none, public: no}, private: true}\n"
    )
    nas, s3 = settings_of(path).backup
    assert nas == BackupRemote(name="nas", type="directory", options={"directory": "/nas/dandi"})
    assert s3.options == {"bucket": "b", "port": "9000", "encryption": "none", "public": "no"}
    assert s3.private


@pytest.mark.parametrize("option", ["password: x", "aws_secret_access_key: x", "embedcreds: yes", "accesstoken: x"])
def test_a_secret_among_the_options_is_refused_and_not_repeated(write: Callable[[str], Path], option: str) -> None:
    key = option.partition(":")[0]
    said = complaint(write(f"backup: [{{name: s3, type: S3, options: {{{option.replace(': x', ': hunter2')}}}}}]\n"))
    assert f"backup[0].options.{key}" in said
    assert "AWS_SECRET_ACCESS_KEY" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("option", ["autoenable: true", "uuid: x", "sameas: x", "--force: x"])
def test_what_is_ours_to_set_is_refused(write: Callable[[str], Path], option: str) -> None:
    assert "backup[0].options." in complaint(write(f"backup: [{{name: s, type: S3, options: {{{option}}}}}]\n"))


def test_two_backups_of_one_name_are_refused(write: Callable[[str], Path]) -> None:
    assert "two of the name 'a'" in complaint(write("backup: [{name: a, type: S3}, {name: a, type: rsync}]\n"))


def test_proofs_can_be_turned_off(write: Callable[[str], Path]) -> None:
    assert settings_of(write("schedule: {verify: null}\n")).schedule.verify is None


@pytest.mark.parametrize("rate", ["0", "-1", "100000", "fast"])
def test_a_rate_is_a_sensible_number(write: Callable[[str], Path], rate: str) -> None:
    assert "verify.requests_per_second" in complaint(write(f"verify: {{requests_per_second: {rate}}}\n"))
