"""What is in serving/deploy/: each file follows its schema, and all of them mean the same service."""

import json
import re
from importlib.resources import files as package_files
from typing import Annotated, Any, Literal

import jsonschema
import kubernetes_validate
import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from serving.deploy import container
from serving.edge import BENTOML, OPEN
from serving.settings import PREFIX, ServiceSettings, read_settings
from takeoff.errors import TakeoffError
from tests.conftest import PROJECT

DEPLOY = PROJECT / "serving" / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
EXAMPLE = "secret.example.yaml"
OLDEST, NEWEST = "1.27", kubernetes_validate.latest_version()  # the oldest: as kustomization.yaml says

CONTAINERFILE = (DEPLOY / "Containerfile").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
PROMETHEUS = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
KUSTOMIZATION = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
MANIFESTS = {
    f"{document['kind']}/{document['metadata']['name']}": document
    for file in sorted(KUBERNETES.glob("*.yaml"))
    if file.name != "kustomization.yaml"
    for document in yaml.safe_load_all(file.read_text())
}
DEPLOYMENT = MANIFESTS["Deployment/takeoff"]["spec"]
POD = DEPLOYMENT["template"]["spec"]
(POD_CONTAINER,) = POD["containers"]
POLICY = MANIFESTS["NetworkPolicy/takeoff"]["spec"]


Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]


class Strict(BaseModel):
    """Takes no key that it does not know, and no number for a text: YAML reads 0123 as one."""

    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


class OtherImage(Strict):
    name: Name
    new_name: str
    new_tag: Annotated[str, Field(pattern=r"^\w[\w.-]*$")]


class Kustomization(Strict):
    """What kustomization.yaml says, by https://kubectl.docs.kubernetes.io/references/kustomize/kustomization."""

    api_version: Literal["kustomize.config.k8s.io/v1beta1"]
    kind: Literal["Kustomization"]
    namespace: Name
    resources: list[str]
    images: list[OtherImage]


def image_environment() -> dict[str, str]:
    """What ENV sets in the image."""
    (block,) = re.findall(r"^ENV ((?:.*\\\n)*.*)$", CONTAINERFILE, flags=re.MULTILINE)
    return dict(pair.split("=", 1) for pair in block.replace("\\\n", " ").split())


def instruction(name: str) -> str:
    """The argument of an instruction that stands once in the Containerfile."""
    (argument,) = re.findall(rf"^{name} (.+)$", CONTAINERFILE, flags=re.MULTILINE)
    return str(argument)


def compose_schema() -> dict[str, Any]:
    vendored = package_files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    return dict(json.loads(vendored.read_text()))


def with_values(text: str) -> str:
    """A value of the compose file, with a value for each of its variables."""
    return re.sub(r"\$\{[A-Z_]+(?::[-?][^}]*)?\}", "1", text)


def own_settings(environment: dict[str, str]) -> ServiceSettings:
    """As the service would read them; refuses what it does not know."""
    return read_settings({name: with_values(value) for name, value in environment.items()})


def pod_environment() -> dict[str, str]:
    """What a pod's container gets, with 1 for what comes from elsewhere."""
    maps = [MANIFESTS[f"ConfigMap/{each['configMapRef']['name']}"] for each in POD_CONTAINER["envFrom"]]
    given = {name: value for each in maps for name, value in each["data"].items()}
    return given | {each["name"]: each.get("value", "1") for each in POD_CONTAINER["env"]}


# schemas


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_follows_its_schema(name: str, version: str) -> None:
    kubernetes_validate.validate(MANIFESTS[name], version, strict=True)


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_misspelt_key_in_a_manifest_is_noticed(name: str) -> None:
    keys = [key for key in MANIFESTS[name] if key not in ("apiVersion", "kind")]

    for key in keys:
        misspelt = {(f"{each}s" if each == key else each): value for each, value in MANIFESTS[name].items()}
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(misspelt, NEWEST, strict=True)


def test_the_compose_file_follows_its_schema() -> None:
    jsonschema.validate(COMPOSE, compose_schema())


def test_a_misspelt_key_in_the_compose_file_is_noticed() -> None:
    service = {**COMPOSE["services"]["service"], "readonly": True}

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**COMPOSE, "services": {"service": service}}, compose_schema())


def test_kustomize_applies_every_manifest_but_the_example() -> None:
    manifests = {file.name for file in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml", EXAMPLE}

    assert set(KUSTOMIZATION["resources"]) == manifests


def test_the_kustomization_says_what_kustomize_knows() -> None:
    Kustomization.model_validate(KUSTOMIZATION)


@pytest.mark.parametrize(
    "change",
    [
        {"nameSpace": "takeoff"},
        {"resources": "deployment.yaml"},
        {"kind": "Kustomize"},
        {"images": [{**KUSTOMIZATION["images"][0], "newtag": "1"}]},
        {"images": [{**KUSTOMIZATION["images"][0], "newTag": 1}]},
    ],
    ids=str,
)
def test_a_mistake_in_the_kustomization_is_noticed(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Kustomization.model_validate({**KUSTOMIZATION, **change})


def test_kustomize_puts_the_pushed_image_and_the_namespace_where_the_manifests_have_theirs() -> None:
    said = Kustomization.model_validate(KUSTOMIZATION)

    assert [image.name for image in said.images] == [POD_CONTAINER["image"].split(":")[0]]
    assert f"Namespace/{said.namespace}" in MANIFESTS


# one service behind all of them


def test_the_image_has_the_same_name_everywhere() -> None:
    (kustomized,) = KUSTOMIZATION["images"]
    composed = re.search(r":-(.+):latest\}", COMPOSE["services"]["service"]["image"])

    assert composed is not None
    assert container.IMAGE == POD_CONTAINER["image"] == kustomized["name"] == composed[1]


def test_one_port_leads_from_every_front_to_the_service() -> None:
    port = int(instruction("EXPOSE"))
    (pod_port,) = POD_CONTAINER["ports"]
    (service_port,) = MANIFESTS["Service/takeoff"]["spec"]["ports"]
    (allowed,) = POLICY["ingress"][0]["ports"]
    (published,) = COMPOSE["services"]["service"]["ports"]

    assert image_environment()["BENTOML_PORT"] == str(port)
    assert pod_port["containerPort"] == port
    assert service_port["targetPort"] == allowed["port"] == pod_port["name"]
    assert published.endswith(f":{port}")
    assert PROMETHEUS["scrape_configs"][0]["static_configs"] == [{"targets": [f"service:{port}"]}]


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_a_probe_asks_an_endpoint_that_needs_no_key(probe: str) -> None:
    asked = POD_CONTAINER[probe]["httpGet"]

    assert asked["path"] in OPEN
    assert asked["port"] in [port["name"] for port in POD_CONTAINER["ports"]]


def test_a_pod_is_restarted_for_being_dead_and_not_for_being_unready() -> None:
    assert POD_CONTAINER["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert POD_CONTAINER["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_the_image_checks_its_health_where_no_key_is_needed() -> None:
    (path,) = re.findall(r"\{os\.environ\['BENTOML_PORT'\]\}(/\w+)", CONTAINERFILE)

    assert path in OPEN


def test_prometheus_reads_the_metrics_with_its_key() -> None:
    job = PROMETHEUS["scrape_configs"][0]
    (secret,) = COMPOSE["services"]["prometheus"]["secrets"]

    assert job["metrics_path"] in BENTOML
    assert job["authorization"]["credentials_file"] == f"/run/secrets/{secret}"
    variable = COMPOSE["secrets"][secret]["environment"]
    assert f"${{{variable}:?" in COMPOSE["services"]["service"]["environment"]["TAKEOFF_API_KEYS"]


def test_grafana_reads_from_the_prometheus_beside_it() -> None:
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())
    (published,) = COMPOSE["services"]["prometheus"]["ports"]

    assert source["datasources"][0]["url"] == f"http://prometheus:{published.split(':')[-1]}"


@pytest.mark.parametrize(
    "environment",
    [image_environment(), COMPOSE["services"]["service"]["environment"], pod_environment()],
    ids=["image", "compose", "kubernetes"],
)
def test_the_service_knows_every_setting_that_it_is_given(environment: dict[str, str]) -> None:
    assert {name for name in environment if name.startswith(PREFIX)}

    own_settings(environment)


def test_a_pod_gets_no_variables_named_after_the_kubernetes_service() -> None:
    # given: a service called takeoff, for which Kubernetes would set TAKEOFF_PORT and more
    with pytest.raises(TakeoffError, match="port"):
        read_settings({"TAKEOFF_PORT": "tcp://10.0.0.1:80"})

    assert POD["enableServiceLinks"] is False


@pytest.mark.parametrize("environment", [COMPOSE["services"]["service"]["environment"], pod_environment()])
def test_pods_and_compose_keep_the_log_in_postgresql(environment: dict[str, str]) -> None:
    assert own_settings(environment).log_url.startswith("postgresql://takeoff:")


def test_an_address_refers_only_to_variables_before_it() -> None:
    names = [each["name"] for each in POD_CONTAINER["env"]]
    used = {each["name"]: re.findall(r"\$\((\w+)\)", each.get("value", "")) for each in POD_CONTAINER["env"]}

    assert any(used.values())
    assert all(other in names[: names.index(name)] for name, others in used.items() for other in others)


def test_every_map_secret_and_volume_that_the_pod_asks_for_is_there() -> None:
    asked = re.findall(
        r"'(configMap|secret)KeyRef': \{'name': '([\w-]+)', 'key': '([\w-]+)'\}",
        str([each.get("valueFrom") for each in POD_CONTAINER["env"]]),
    )

    assert len(asked) == len([each for each in POD_CONTAINER["env"] if "valueFrom" in each])
    for kind, name, key in asked:
        found = MANIFESTS[f"{kind[0].upper()}{kind[1:]}/{name}"]
        assert key in (found.get("data") or found.get("stringData"))
    assert {each["name"] for each in POD_CONTAINER["volumeMounts"]} == {
        each["name"] for each in POD["volumes"]
    }


def test_every_selector_finds_the_pods() -> None:
    labels = DEPLOYMENT["template"]["metadata"]["labels"].items()
    selectors = [
        DEPLOYMENT["selector"]["matchLabels"],
        MANIFESTS["Service/takeoff"]["spec"]["selector"],
        MANIFESTS["PodDisruptionBudget/takeoff"]["spec"]["selector"]["matchLabels"],
        POLICY["podSelector"]["matchLabels"],
        *(each["labelSelector"]["matchLabels"] for each in POD["topologySpreadConstraints"]),
    ]

    assert all(selector and selector.items() <= labels for selector in selectors)


def test_the_autoscaler_scales_the_deployment_and_leaves_one_pod_in_a_disruption() -> None:
    autoscaler = MANIFESTS["HorizontalPodAutoscaler/takeoff"]["spec"]
    budget = MANIFESTS["PodDisruptionBudget/takeoff"]["spec"]

    assert f"{autoscaler['scaleTargetRef']['kind']}/{autoscaler['scaleTargetRef']['name']}" in MANIFESTS
    assert "replicas" not in DEPLOYMENT  # two who set it would fight
    assert POD_CONTAINER["resources"]["requests"]["cpu"]  # or there is nothing to take a share of
    assert autoscaler["minReplicas"] > budget["maxUnavailable"]


def test_the_network_policy_lets_the_pods_reach_their_database_and_names_and_nothing_else() -> None:
    database = re.search(r":(\d+)/", own_settings(pod_environment()).log_url.split("@")[1])
    reached = [port["port"] for rule in POLICY["egress"] for port in rule["ports"]]

    assert database is not None
    assert set(reached) == {int(database[1]), 53}
    assert set(POLICY["policyTypes"]) == {"Ingress", "Egress"}
    assert all(rule["to"] for rule in POLICY["egress"]) and all(rule["from"] for rule in POLICY["ingress"])


def test_what_is_written_goes_to_the_volume_wherever_the_image_runs() -> None:
    volume = instruction("VOLUME")
    given = own_settings(image_environment())

    assert given.log_url.startswith(f"sqlite:///{volume}/")
    assert given.spool_dir is not None and given.spool_dir.startswith(f"{volume}/")
    assert container.VOLUME.endswith(f":{volume}")
    assert COMPOSE["services"]["service"]["volumes"] == [f"spool:{volume}"]
    assert volume in [each["mountPath"] for each in POD_CONTAINER["volumeMounts"]]


def test_the_spool_is_full_before_its_volume_is() -> None:
    (spool,) = [each for each in POD["volumes"] if each["name"] == "spool"]

    assert spool["emptyDir"]["sizeLimit"] == "1Gi"
    assert own_settings(pod_environment()).spool_max_mb < 1024


def test_a_stop_waits_longer_than_the_longest_request() -> None:
    settings = ServiceSettings()
    longest = settings.body_seconds + settings.deadline_seconds
    (_, pause) = POD_CONTAINER["lifecycle"]["preStop"]["exec"]["command"]

    assert longest < container.STOP_SECONDS
    assert int(COMPOSE["services"]["service"]["stop_grace_period"].removesuffix("s")) > longest
    assert POD["terminationGracePeriodSeconds"] - int(pause) > longest


# care


def test_a_pod_runs_as_the_user_of_the_image_and_can_change_nothing() -> None:
    user = POD["securityContext"]
    locked = POD_CONTAINER["securityContext"]

    assert instruction("USER") == f"{user['runAsUser']}:{user['runAsGroup']}"
    assert user["runAsNonRoot"] and user["runAsUser"] > 0
    assert user["seccompProfile"] == {"type": "RuntimeDefault"}
    assert locked["readOnlyRootFilesystem"] and not locked["allowPrivilegeEscalation"]
    assert locked["capabilities"] == {"drop": ["ALL"]}
    assert not POD["automountServiceAccountToken"]
    assert set(POD_CONTAINER["resources"]["limits"]) == {"cpu", "memory"}


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_every_service_of_compose_is_locked_up_watched_and_restarted(name: str) -> None:
    service = COMPOSE["services"][name]

    assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert service.get("read_only") or name == "prometheus"  # whose secret compose could not copy in
    assert "healthcheck" in service or (name == "service" and "HEALTHCHECK" in CONTAINERFILE)
    assert all(published.startswith("127.0.0.1:") for published in service.get("ports", []))


@pytest.mark.parametrize("name", sorted(set(COMPOSE["services"]) - {"service"}))
def test_an_image_of_others_has_an_exact_version(name: str) -> None:
    assert re.fullmatch(r"[\w./-]+:v?\d+(\.\d+)+", COMPOSE["services"][name]["image"])


def test_the_database_is_reached_from_the_service_alone() -> None:
    on_it = [name for name, service in COMPOSE["services"].items() if "database" in service["networks"]]

    assert sorted(on_it) == ["postgres", "service"]
    assert COMPOSE["networks"]["database"]["internal"] and "ports" not in COMPOSE["services"]["postgres"]


def test_secrets_are_asked_for_and_not_written_down() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    example = dict(re.findall(r"^([A-Z_]+)=(.*)$", (DEPLOY / ".env.example").read_text(), flags=re.MULTILINE))

    assert set(re.findall(r"\$\{([A-Z_]+):\?", text)) == set(example)  # without them compose does not start
    assert not set(re.findall(r"\$\{([A-Z_]+):-", text)) & set(example)
    assert not any(example.values())
    assert not any(MANIFESTS["Secret/takeoff"]["stringData"].values())
    assert ".env" in (DEPLOY / ".gitignore").read_text().splitlines()


def test_bentoml_is_not_told_that_it_runs_in_a_container() -> None:
    # given: bentoml.serving.running_inside_container, with which a killed worker stays dead
    assert "BENTOML_CONTAINERIZED" not in image_environment()


@pytest.mark.parametrize("variable", ["BENTOML_DO_NOT_TRACK", "ORT_DISABLE_TELEMETRY"])
def test_nothing_in_the_image_reports_on_its_use(variable: str) -> None:
    assert image_environment()[variable] in ("1", "True")
