# shellcheck shell=bash disable=SC2154
# An hour of churn: containers come, go and are renamed, images are tagged, the engine restarts; approved ones and others beside each other.
# The monitor stops what is not approved, and never touches what is. Sourced by tests.sh, whose words it uses; `make -f Makefile.test churn`.
#
#   CHURN=SECONDS   how long; 3600
#   CHURN_SEED=N    the same events again, as far as times allow; each run says its own

test_monitor_touches_nothing_approved_in_an_hour_of_churn() {
    local status=0
    mkdir -p "${monitor_list%/*}"
    approve_all
    reconfigure MONITOR=stop MONITOR_PAUSE=0
    pulled registry.test:5000/app:1.0
    pulled registry.test:5000/tool:1.0
    PLUGIN=$PLUGIN AUDIT=$(audit_log) python3 "$RIG_TOOLS/../suite/churn.py" "$RIG_TOOLS/engine.sh" "$monitor_list" \
        "${CHURN:-3600}" || status=$?
    assertEquals "churn" 0 $status
    rm -f "$monitor_list"
    reconfigure MONITOR= MONITOR_PAUSE=
}
