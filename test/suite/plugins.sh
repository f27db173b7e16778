# shellcheck shell=bash disable=SC2034,SC2154
# Which managed plugins may be enabled: they run as root on the host. Sourced by tests.sh, whose words it uses, and those of
# lockdown.sh.

plugin_unapproved='plugin-unapproved'
plugin_busy='plugin-busy'

# other_plugin NAME TREE [MEMBER]: a plugin made here: the gate's program, since it listens, in a root filesystem that no plugin has but
# those of this TREE (the engine keeps content once), and a configuration with this member more
other_plugin() {
    local folder=$SHUNIT_TMPDIR/$2
    # Copied once: the time of a file counts in the root filesystem's digest.
    if [[ ! -e $folder ]]; then
        mkdir -p "$folder"
        cp -a "$RIG_TOOLS/../../plugin/rootfs" "$folder"
        echo "$2" > "$folder/rootfs/tree"
    fi
    cat > "$folder/config.json" << END
{"description": "another", "entrypoint": ["/img-authz", "serve"], "network": {"type": "none"},
 "interface": {"types": ["docker.authz/1.0"], "socket": "img-authz.sock"}${3:+, $3},
 "env": [{"name": "LOG", "value": "info", "settable": ["value"]}], "linux": {"capabilities": []}}
END
    docker plugin create "$1" "$folder" > /dev/null
}

# named PLUGIN: as ALLOW_PLUGINS names it
named() { "$RIG_TOOLS/../../plugin/rootfs/img-authz" plugin digest "$1"; }

further_tests+=(test_plugin_is_enabled_as_it_was_approved_and_not_otherwise)
test_plugin_is_enabled_as_it_was_approved_and_not_otherwise() {
    local name before log enabling
    local mount='"mounts": [{"name": "m", "source": "/etc", "destination": "/config", "type": "bind", "options": ["rbind", "ro"]}]'
    # What is enabled when a gate first starts may be enabled again while it is equal.
    uninstall
    other_plugin older tree-1
    docker plugin enable older > /dev/null
    "$RIG_TOOLS/install.sh" > /dev/null
    posture=images
    row ok - docker plugin disable older
    row ok - docker plugin enable older
    docker plugin disable older > /dev/null
    docker plugin set older LOG=debug
    row $plugin_unapproved - docker plugin enable older
    docker plugin set older LOG=info

    # What is made afterwards is not, until it is named.
    other_plugin newer tree-2
    row $plugin_unapproved - docker plugin enable newer
    name=$(named newer)
    assertContains "the refusal says the digest that the command prints" "$denial" "${name#*@}"
    reconfigure ALLOW_PLUGINS="$name"
    row ok - docker plugin enable newer
    docker plugin disable newer > /dev/null
    docker plugin rm newer > /dev/null

    # The same root filesystem with a mount more is another plugin, and so is the one that was named under another name.
    other_plugin newer tree-2 "$mount"
    row $plugin_unapproved - docker plugin enable newer
    docker plugin rm newer > /dev/null
    other_plugin newest tree-2
    row $plugin_unapproved - docker plugin enable newest
    docker plugin rm newest > /dev/null
    other_plugin newer tree-2
    row ok - docker plugin enable newer

    # None is changed while one is being enabled, which takes half a second at least: too short for the command line.
    before=$(audit_lines)
    log=$(audit_log)
    docker plugin enable older > /dev/null &
    enabling=$!
    for _ in {1..500}; do
        ! tail -n "+$((before + 1))" "$log" | grep -q '"action":"plugin-enable"' || break
        sleep 0.02
    done
    assertContains "while one is being enabled" "$(api POST /plugins/newer/set -H 'Content-Type: application/json' -d '["LOG=debug"]')" \
        ": $plugin_busy: "
    wait "$enabling"
    assertEquals "the one that was enabled meanwhile" 0 $?
    docker plugin disable older > /dev/null
    row ok - docker plugin set older LOG=debug

    docker plugin disable newer > /dev/null
    docker plugin rm older newer > /dev/null
    reconfigure ALLOW_PLUGINS=
}
