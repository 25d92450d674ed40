"""Hosts that die, fail or do not come: the others end soon, and in one line."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest

from byol_jax import cluster, witness
from byol_jax.errors import OtherHost, UserError
from tests.devices import xla_flags

ROOT = Path(__file__).parents[1]
# A host that works together with another until it is told to do something else.
PROGRAM = """
import os, sys, time
from byol_jax import cluster, commands
from byol_jax.errors import UserError

def main():
  commands.set_up()
  cluster.join()
  import numpy as np
  from jax.experimental import multihost_utils
  for step in range(10**6):
    if step == 3:
      print(os.getpid(), flush=True)
      if sys.argv[1] == "alone":
        raise UserError("it is mine alone")
      if sys.argv[1] == "both":
        raise UserError("it is everyone's")
    multihost_utils.process_allgather(np.ones(3))
    time.sleep(0.05)

commands.run(main, sys.argv[:1])
"""


def start(*says):
  """Starts a host for each word."""
  with socket.socket() as free:
    free.bind(("localhost", 0))
    address = f"localhost:{free.getsockname()[1]}"
  return [
    subprocess.Popen(
      [sys.executable, "-c", PROGRAM, word],
      cwd=ROOT,
      env=os.environ
      | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": xla_flags(2 if word == "wide" else 1),
        "JAX_COORDINATOR_ADDRESS": address,
        "JAX_NUM_PROCESSES": str(len(says)),
        "JAX_PROCESS_ID": str(host),
      },
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for host, word in enumerate(says)
  ]


# The second is missed by its silence alone, after half a minute.
VICTIMS = [0, pytest.param(1, marks=pytest.mark.slow)]


def answers(process):
  """What a host has said when it ended, but for its log."""
  lines = process.communicate(timeout=60)[1].splitlines()
  return [line for line in lines if " waiting for " not in line]


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_host_that_dies_ends_the_other(victim):
  hosts = start("work", "work")
  for host in hosts:
    assert host.stdout.readline()  # they are at work
  began = time.monotonic()
  hosts[victim].send_signal(signal.SIGKILL)
  assert answers(hosts[1 - victim]) == [witness.ANSWER + witness.OTHER_HOST]
  assert time.monotonic() - began < 60
  # By JAX's runtime or by us; not with a mistake's 1, which is not tried again.
  assert hosts[1 - victim].returncode in (-signal.SIGABRT, OtherHost.STATUS)


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_host_that_fails_ends_the_other(victim):
  says = ["work", "work"]
  says[victim] = "alone"
  hosts = start(*says)
  assert answers(hosts[victim]) == ["byol_jax: it is mine alone"]
  assert answers(hosts[1 - victim]) == [witness.ANSWER + witness.OTHER_HOST]


def test_what_does_not_train_ends_at_a_signal():
  hosts = start("work", "work")
  for host in hosts:
    assert host.stdout.readline()  # they are at work
  hosts[1].send_signal(signal.SIGTERM)
  assert hosts[1].wait(10) == -signal.SIGTERM
  hosts[0].kill()
  for host in hosts:
    host.communicate()


def test_hosts_have_equally_many_devices():
  hosts = start("work", "wide")
  line = "byol_jax: host 1 has 2 devices, and host 0 1: give all hosts as many, such as"
  assert [answers(host) for host in hosts] == [[f"{line} by CUDA_VISIBLE_DEVICES"]] * 2
  assert [host.returncode for host in hosts] == [1, 1]


def test_hosts_that_fail_together_all_say_why():
  hosts = start("both", "both")
  assert [answers(host) for host in hosts] == [["byol_jax: it is everyone's"]] * 2
  assert [host.returncode for host in hosts] == [1, 1]


@pytest.mark.parametrize(
  ("error", "kind"),
  [
    (ValueError("coordinator_address should be defined."), UserError),
    (RuntimeError("DEADLINE_EXCEEDED: nobody came\nand more"), OtherHost),
  ],
)
def test_hosts_that_do_not_come_are_no_mistake(monkeypatch, error, kind):
  def initialize(**_):
    raise error

  monkeypatch.setattr(cluster, "_call_witness", lambda: None)
  monkeypatch.setattr(cluster.jax.distributed, "initialize", initialize)
  with pytest.raises(UserError, match=str(error).splitlines()[0]) as raised:
    cluster.join()
  assert raised.type is kind


@pytest.mark.parametrize(
  "address", ["localhost", "10.0.0.1", "gpu-1.local", "::1", "[::1]", "gpu-1:"]
)
def test_an_address_without_a_port(monkeypatch, address):
  monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", address)
  said = re.escape(f"{address} names no port: give HOST:PORT")
  with pytest.raises(UserError, match=said):
    cluster.join()


@pytest.mark.parametrize(
  ("backend", "hosts", "kept"),
  [("gpu", 2, False), ("gpu", 1, True), ("tpu", 2, True), ("cpu", 2, True)],
)
def test_all_hosts_with_gpus_compile_alike(monkeypatch, backend, hosts, kept):
  monkeypatch.setattr(cluster, "_call_witness", lambda: None)
  monkeypatch.setattr(cluster.jax.distributed, "initialize", lambda **_: None)
  monkeypatch.setattr(cluster.jax, "default_backend", lambda: backend)
  monkeypatch.setattr(cluster.jax, "process_count", lambda: hosts)
  name = "jax_enable_compilation_cache"
  before = getattr(jax.config, name)
  try:
    cluster.join()
    assert getattr(jax.config, name) is kept
  finally:
    jax.config.update(name, before)


def test_hosts_that_do_not_come_are_waited_for_aloud(monkeypatch, caplog):
  monkeypatch.setattr(cluster, "_PATIENCE", 0.02)
  with caplog.at_level("INFO"), cluster.waiting("2 hosts at there:1"):
    time.sleep(0.1)
  said = [record.getMessage() for record in caplog.records]
  assert said[:2] == [
    "waiting for 2 hosts at there:1",
    "still waiting for 2 hosts at there:1: start the same command on each",
  ]
  assert len(said) > 2
  time.sleep(0.05)
  assert len(caplog.records) == len(said)  # they have come
