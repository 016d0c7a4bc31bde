#!/usr/bin/env bash
# A Slurm of one node on this machine, from Debian's packages, for the tests of tools/bench.py --cluster slurm.
#
#   dev/slurm.sh install   apt-get install slurm-wlm and munge (as root; about 60 MB)
#   dev/slurm.sh start     write /etc/slurm/slurm.conf and start munged, slurmctld and slurmd (as root)
#   dev/slurm.sh stop      end the three
#   dev/slurm.sh status    exit status 0 where the node takes jobs
#
# It replaces no slurm.conf but its own: on a machine of a real cluster nothing is touched.
set -euo pipefail

CONF=/etc/slurm/slurm.conf
MARK="# Written by dev/slurm.sh"
LOGS=/var/log/slurm

say() { echo "slurm.sh: $*" >&2; }

configuration() {
  cat <<END
$MARK: one node, for tests.
ClusterName=tests
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
# What a machine without cgroups of its own, such as a container, allows.
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
# The tests are short.
KillWait=20
SchedulerParameters=batch_sched_delay=1,sched_interval=2
StateSaveLocation=/var/lib/slurm/slurmctld
SlurmdSpoolDir=/var/lib/slurm/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=$LOGS/slurmctld.log
SlurmdLogFile=$LOGS/slurmd.log
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=tests Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
}

install() {
  say "installing slurm-wlm and munge by apt-get"
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends slurm-wlm munge
}

start() {
  if [ -e "$CONF" ] && ! grep -q "$MARK" "$CONF"; then
    say "$CONF is not mine, and stays as it is: this machine belongs to a cluster"
    exit 1
  fi
  status && return 0
  mkdir -p /run/munge /var/lib/slurm/slurmctld /var/lib/slurm/slurmd "$LOGS"
  chown munge: /run/munge
  configuration >"$CONF"
  say "starting munged, slurmctld and slurmd with $CONF; they log into $LOGS"
  pgrep -x munged >/dev/null || su -s /bin/sh munge -c /usr/sbin/munged
  pgrep -x slurmctld >/dev/null || slurmctld
  pgrep -x slurmd >/dev/null || slurmd
  for _ in $(seq 50); do
    status && return 0
    sleep 0.2
  done
  say "no node is up after 10 s: see $LOGS"
  exit 1
}

stop() {
  for pid in /run/slurmd.pid /run/slurmctld.pid /run/munge/munged.pid; do
    if [ -e "$pid" ]; then kill "$(cat "$pid")" 2>/dev/null || true; fi
  done
}

status() { timeout 5 sinfo --noheader --states=idle,mixed,allocated --format=%D 2>/dev/null | grep -q '[1-9]'; }

case "${1:-}" in
  install | start | stop | status) "$1" ;;
  *) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
