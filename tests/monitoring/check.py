"""Asks a Prometheus that scrapes a router under load, and two nodes of a cluster, what the dashboard
and the alerts would ask.

Arguments: the URL of Prometheus, that of the router's admin listener, and the process ids of the
load. Closes with `N passed, N failed`.
"""

import json
import math
import pathlib
import re
import sys
import time
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROMETHEUS, ADMIN, *LOAD = sys.argv[1:]

#: What Grafana puts in the place of its variables.
VARIABLES = {"$__rate_interval": "10s", "$instance": ".*"}
#: Samples of one scrape. No label holds what a client chooses, so it does not grow with them.
MOST_SAMPLES = 3000


def read(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def ask(path, **parameters):
    answer = json.loads(read(f"{PROMETHEUS}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"))
    assert answer["status"] == "success", answer
    return answer["data"]


def query(expression):
    """The values of an expression at this moment."""
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    return [float(series["value"][1]) for series in ask("query", query=expression)["result"]]


def wait(what, is_true, seconds=60):
    until = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < until, f"waited for {seconds} s: {what}"
        time.sleep(0.5)


def is_running(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ")[-1][0] != "Z"
    except FileNotFoundError:
        return False


def is_up():
    try:
        return query("up") == [1, 1, 1] and query("stentor_cluster_linked_nodes") == [1, 1]
    except OSError:  # Prometheus itself starts.
        return False


def targets():
    """The queries of the dashboard, with the title of their panel."""
    dashboard = json.loads((ROOT / "docs/monitoring/grafana.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["expr"].removesuffix(" > 0")


def scraped():
    targets = ask("targets")["activeTargets"]
    bad = [it for it in targets if it["health"] != "up" or it["lastError"]]
    assert len(targets) == 3 and not bad, bad
    samples = query("scrape_samples_scraped")
    assert 100 < min(samples) and max(samples) < MOST_SAMPLES, f"{samples} samples"


def each_query_has_data():
    silent = [f"{title}: {query_}" for title, query_ in targets() if not query(query_)]
    assert not silent, "no data for\n  " + "\n  ".join(silent)


def each_alert_can_be_judged():
    rules = [rule for group in ask("rules")["groups"] for rule in group["rules"]]
    broken = [rule for rule in rules if rule["health"] != "ok" or rule.get("lastError")]
    assert rules and not broken, broken
    names = set(ask("label/__name__/values"))
    for rule in rules:
        missing = set(re.findall(r"(?:stentor|process)_\w+", rule["query"])) - names
        assert not missing, f"{rule['name']} asks for {missing}"
    firing = [alert["labels"]["alertname"] for alert in ask("alerts")["alerts"]]
    assert not {"StentorDown", "StentorEventLoopStuck", "StentorReloadRefused"} & set(firing), firing


def the_load_is_seen():
    wait("events flow", lambda: sum(query("rate(stentor_events_delivered_total[10s])")) > 1000)
    wait("calls are timed", lambda: not math.isnan(query(
        "histogram_quantile(0.99, sum by (le) (rate(stentor_call_duration_seconds_bucket[10s])))"
    )[0]))
    wait("sockets refuse", lambda: query("max_over_time(sum(stentor_refused_bytes)[1m:1s])")[0] > 0)
    wait("a stalled reader is cut", lambda: sum(query("stentor_slow_consumers_total")) > 0)
    groups = sum(query('rate(stentor_group_events_delivered_total{group="load"}[10s])'))
    assert groups > 1000, f"{groups} events a second of the group"


def totals_are_the_routers():
    wait("the load ends", lambda: not any(is_running(pid) for pid in LOAD), 120)
    for metric in ["stentor_events_delivered_total", "stentor_calls_total"]:
        lines = re.findall(rf"^{metric}(?:{{.*}})? (\S+)", read(f"{ADMIN}/metrics"), re.MULTILINE)
        own = sum(float(value) for value in lines)
        assert own > 1000, f"{metric}: {own}"
        wait(f"{metric} is {own}", lambda: sum(query(f'{metric}{{job="stentor"}}')) == own, 20)


def main():
    wait("Prometheus scrapes the routers", is_up)
    checks = [
        the_load_is_seen,
        scraped,
        each_query_has_data,
        each_alert_can_be_judged,
        totals_are_the_routers,
    ]
    failed = 0
    for check in checks:
        try:
            check()
            print(f"ok    {check.__name__}", flush=True)
        except Exception as error:  # The others still say what they see.
            failed += 1
            print(f"FAIL  {check.__name__}: {error!r:.2000}", flush=True)
    print(f"{len(checks) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
