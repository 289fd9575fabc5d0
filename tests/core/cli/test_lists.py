"""What is installed, as tables and as JSON."""

LISTED = {
    "kits": "industrial",
    "datasets": "elpv",
    "metrics": "escape_rate",
    "tasks": "score",
    "gates": "top_k_softmax",
}


def test_kits_datasets_metrics_and_tasks_are_listed(moekit):
    for kind, name in LISTED.items():
        outcome = moekit(kind, "--json")
        assert outcome.code == 0
        assert name in [entry["name"] for entry in outcome.json[kind]]
        assert name in moekit(kind).out


def test_the_long_list_says_what_each_is_for(moekit):
    rows = moekit("datasets", "--long", "--json").json["datasets"]
    summaries = {row["name"]: row["summary"] for row in rows}
    assert "solar cells" in summaries["elpv"]
    assert all(summaries.values())
    assert "solar cells" in " ".join(moekit("datasets", "--long").out.split())


def test_token_gates_are_listed_with_the_gates(moekit):
    names = [entry["full_name"] for entry in moekit("gates", "--json").json["token_gates"]]
    assert {"moekit/texture", "moekit/learned"} <= set(names)
    assert "Token gates" in moekit("gates").out


def test_plugins_are_listed_with_their_states(moekit):
    plugins = moekit("plugins", "list", "--json").json["plugins"]
    states = {plugin["distribution"]: plugin["state"] for plugin in plugins}
    assert states["moekit"] == states["moekit-industrial"] == "active"


def test_a_plugin_that_is_switched_off_takes_its_kit_along(moekit, monkeypatch):
    monkeypatch.setenv("MOEKIT_DISABLE_PLUGINS", "moekit-industrial")
    names = [kit["full_name"] for kit in moekit("kits", "--json").json["kits"]]
    assert "moekit-industrial/industrial" not in names
    outcome = moekit("adapt", "industrial", "--data", "elpv", "--out", "o")
    assert outcome.code == 3
    assert "[plugin/not-usable]" in outcome.err


def test_the_backbone_tells_where_its_weights_come_from(moekit):
    facts = moekit("backbone", "info", "--json").json
    assert facts["experts"] == facts["top_k"] == 16
    assert len(facts["sha256"]) == 64
    assert "not the original DINOv2" in facts["note"]
