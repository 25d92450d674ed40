"""Hosts on Kubernetes find each other, and start again but after a mistake."""

import subprocess
import sys

import pytest
import yaml

from byol_jax import cluster
from byol_jax.errors import OtherHost
from tests.launch.played import LAUNCH, ROOT, environment, free_port

JOB_SETS = sorted(LAUNCH.glob("*.yaml"))


def job(path):
  """A file's Job, which JobSet makes of it, and its only container."""
  job_set = yaml.safe_load(path.read_text())
  (hosts,) = job_set["spec"]["replicatedJobs"]
  spec = hosts["template"]["spec"]
  (container,) = spec["template"]["spec"]["containers"]
  return job_set, spec, container


@pytest.mark.parametrize("path", JOB_SETS, ids=lambda path: path.name)
def test_all_start_again_but_after_a_mistake(path):
  job_set, spec, container = job(path)
  (of_set,) = job_set["spec"]["failurePolicy"]["rules"]
  assert of_set["action"] == "FailJobSet"
  assert of_set["onJobFailureReasons"] == ["PodFailurePolicy"]
  (of_job,) = spec["podFailurePolicy"]["rules"]
  status = of_job["onExitCodes"]
  assert (of_job["action"], status["operator"]) == ("FailJob", "In")
  assert status["values"] == [1]
  assert OtherHost.STATUS not in status["values"]
  assert status["containerName"] == container["name"]
  assert spec["backoffLimit"] == 0
  assert spec["template"]["spec"]["restartPolicy"] == "Never"


@pytest.mark.parametrize("path", JOB_SETS, ids=lambda path: path.name)
def test_a_device_takes_64_images_at_a_time(path, parsed):
  _, spec, container = job(path)
  (per_host,) = container["resources"]["limits"].values()
  devices = spec["parallelism"] * per_host
  train = parsed(container["args"]).train
  assert train.batch_size == devices * train.accumulate * 64  # docs/scale.md


def test_the_slice_has_as_many_hosts_as_are_asked_for():
  _, spec, container = job(LAUNCH / "kubernetes_tpu.yaml")
  assert spec["parallelism"] == spec["completions"]
  selector = spec["template"]["spec"]["nodeSelector"]
  rows, columns = selector["cloud.google.com/gke-tpu-topology"].split("x")
  chips = container["resources"]["limits"]["google.com/tpu"]
  assert int(rows) * int(columns) == spec["parallelism"] * chips


def test_gpu_hosts_find_each_other(monkeypatch):
  job_set, spec, container = job(LAUNCH / "kubernetes_gpu.yaml")
  variables = {each["name"]: each.get("value") for each in container["env"]}
  index = container["env"][2]["valueFrom"]["fieldRef"]["fieldPath"]
  assert index == "metadata.annotations['batch.kubernetes.io/job-completion-index']"
  variables["JAX_PROCESS_ID"] = "1"
  for name, value in variables.items():
    monkeypatch.setenv(name, value)
  found = {}
  monkeypatch.setattr(cluster, "_call_witness", lambda: None)
  monkeypatch.setattr(
    cluster.jax.distributed, "initialize", lambda **given: found.update(given)
  )
  cluster.join()
  assert (found["num_processes"], found["process_id"]) == (2, 1)
  assert spec["parallelism"] == spec["completions"] == 2
  name = job_set["metadata"]["name"]
  (hosts,) = job_set["spec"]["replicatedJobs"]
  first = f"{name}-{hosts['name']}-0-0.{name}:8476"  # set, job, its index, the pod's
  assert variables["JAX_COORDINATOR_ADDRESS"] == first
  gpus = container["resources"]["limits"]["nvidia.com/gpu"]
  assert variables["JAX_LOCAL_DEVICE_IDS"] == ",".join(map(str, range(gpus)))


JOIN = """
from byol_jax import cluster, commands
commands.set_up()
cluster.join()
import jax
print(jax.process_index(), jax.process_count(), jax.device_count())
"""


def test_tpu_hosts_find_each_other_by_what_gke_sets(tmp_path):
  _, _, container = job(LAUNCH / "kubernetes_tpu.yaml")
  assert "env" not in container
  port = free_port()
  hosts = [
    subprocess.Popen(
      [sys.executable, "-c", JOIN],
      cwd=ROOT,
      env=environment(
        tmp_path,
        JAX_FORCE_TPU_INIT="1",  # or JAX would look for chips first
        JAX_PLATFORMS="cpu",
        JAX_COORDINATOR_PORT=port,
        TPU_WORKER_HOSTNAMES="localhost,localhost",
        TPU_WORKER_ID=str(host),
        # Google's metadata server would say that there is one slice.
        MEGASCALE_COORDINATOR_ADDRESS="",
        MEGASCALE_NUM_SLICES="1",
        MEGASCALE_SLICE_ID="0",
      ),
      stdout=subprocess.PIPE,
      text=True,
    )
    for host in range(2)
  ]
  said = [host.communicate(timeout=120)[0].splitlines()[-1] for host in hosts]
  assert said == ["0 2 2", "1 2 2"]
