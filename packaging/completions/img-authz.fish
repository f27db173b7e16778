# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_img_authz_global_optspecs
    string join \n h/help V/version
end

function __fish_img_authz_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_img_authz_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_img_authz_using_subcommand
    set -l cmd (__fish_img_authz_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c img-authz -n "__fish_img_authz_needs_command" -s h -l help -d 'Print help'
complete -c img-authz -n "__fish_img_authz_needs_command" -s V -l version -d 'Print version'
complete -c img-authz -n "__fish_img_authz_needs_command" -f -a "serve" -d 'Serve the plugin\'s socket; dockerd is the client'
complete -c img-authz -n "__fish_img_authz_needs_command" -f -a "check" -d 'Say whether an image would be let in, with every step'
complete -c img-authz -n "__fish_img_authz_needs_command" -f -a "explain" -d 'Explain what an AuthZ request means and what the gate would answer'
complete -c img-authz -n "__fish_img_authz_needs_command" -f -a "doctor" -d 'Say whether this host is really protected'
complete -c img-authz -n "__fish_img_authz_needs_command" -f -a "enable" -d 'Have dockerd ask the gate: name it in daemon.json, and reload'
complete -c img-authz -n "__fish_img_authz_needs_command" -f -a "disable" -d 'Have dockerd ask the gate no more: take it out of daemon.json, and reload'
complete -c img-authz -n "__fish_img_authz_needs_command" -f -a "audit" -d 'Say what is weak about a Dockerfile, an image or this host, with remedies'
complete -c img-authz -n "__fish_img_authz_needs_command" -f -a "settings" -d 'Show which settings are in force, and judge others before they are set'
complete -c img-authz -n "__fish_img_authz_needs_command" -f -a "policy" -d 'Check a policy file, and show the policy in force'
complete -c img-authz -n "__fish_img_authz_needs_command" -f -a "exception" -d 'Let something pass for a time that the policy refuses'
complete -c img-authz -n "__fish_img_authz_needs_command" -f -a "status" -d 'Show how the gate of this host is doing'
complete -c img-authz -n "__fish_img_authz_needs_command" -f -a "log" -d 'Show what was decided, and why'
complete -c img-authz -n "__fish_img_authz_needs_command" -f -a "monitor" -d 'Find containers that run and would be refused now; stop them, on a host without the plugin'
complete -c img-authz -n "__fish_img_authz_needs_command" -f -a "help" -d 'Explain a refusal\'s code, a finding of doctor, a setting, or a command'
complete -c img-authz -n "__fish_img_authz_needs_command" -f -a "trust" -d 'Show and verify what a Notary server\'s trust data says'
complete -c img-authz -n "__fish_img_authz_needs_command" -f -a "migrate" -d 'Say which images that a Notary has signed need a signature of cosign or notation, and how to make it'
complete -c img-authz -n "__fish_img_authz_needs_command" -f -a "register" -d 'Approve images: add their digests to the allowlist'
complete -c img-authz -n "__fish_img_authz_needs_command" -f -a "unregister" -d 'Take approvals back: remove images from the allowlist'
complete -c img-authz -n "__fish_img_authz_needs_command" -f -a "plugin" -d 'Say by which digest a plugin is named in `ALLOW_PLUGINS`'
complete -c img-authz -n "__fish_img_authz_needs_command" -f -a "allowlist" -d 'Read the allowlist, or clear it up'
complete -c img-authz -n "__fish_img_authz_using_subcommand serve" -l socket -d 'Where to listen, unless systemd passes a socket' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand serve" -s h -l help -d 'Print help'
complete -c img-authz -n "__fish_img_authz_using_subcommand check" -l action -d 'What would be done with it' -r -f -a "pull\t''
create\t''
start\t''"
complete -c img-authz -n "__fish_img_authz_using_subcommand check" -l user -d 'Who would do it: the CN of a client certificate; `local`: a client without one' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand check" -l unit -d 'A unit (OU) of that certificate; may be given several times' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand check" -l case -d 'Print what was found out as a case for `policy test`; values of the environment are hashed'
complete -c img-authz -n "__fish_img_authz_using_subcommand check" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand check" -s h -l help -d 'Print help'
complete -c img-authz -n "__fish_img_authz_using_subcommand explain" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand explain" -s h -l help -d 'Print help'
complete -c img-authz -n "__fish_img_authz_using_subcommand doctor" -l daemon-json -d 'The engine\'s daemon.json (default: the one dockerd was started with)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand doctor" -l json -d 'Print JSON: a list of findings, worst first'
complete -c img-authz -n "__fish_img_authz_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c img-authz -n "__fish_img_authz_using_subcommand enable" -l daemon-json -d 'The engine\'s daemon.json (default: the one dockerd was started with)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand enable" -l service -d 'The gate that runs by itself (a systemd service), whatever managed plugins there are'
complete -c img-authz -n "__fish_img_authz_using_subcommand enable" -l dry-run -d 'Say what would be done, and do nothing'
complete -c img-authz -n "__fish_img_authz_using_subcommand enable" -l no-reload -d 'Leave dockerd alone: the file counts from its next start or reload on'
complete -c img-authz -n "__fish_img_authz_using_subcommand enable" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand enable" -l close-http2 -d 'Also write a drop-in for docker\'s systemd unit that switches cleartext HTTP/2 off, over which engines from 29.2 on ask nobody'
complete -c img-authz -n "__fish_img_authz_using_subcommand enable" -s h -l help -d 'Print help'
complete -c img-authz -n "__fish_img_authz_using_subcommand disable" -l daemon-json -d 'The engine\'s daemon.json (default: the one dockerd was started with)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand disable" -l service -d 'The gate that runs by itself (a systemd service), whatever managed plugins there are'
complete -c img-authz -n "__fish_img_authz_using_subcommand disable" -l dry-run -d 'Say what would be done, and do nothing'
complete -c img-authz -n "__fish_img_authz_using_subcommand disable" -l no-reload -d 'Leave dockerd alone: the file counts from its next start or reload on'
complete -c img-authz -n "__fish_img_authz_using_subcommand disable" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand disable" -s h -l help -d 'Print help'
complete -c img-authz -n "__fish_img_authz_using_subcommand audit" -l fail-on -d 'Exit with 2 from this severity up: info, low, medium, high, critical' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand audit" -l explain -d 'Say what a rule means, by any of its names (user-root, CIS-4.1, DL3002)' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand audit" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand audit" -l sarif -d 'Print SARIF 2.1.0, as forges show it'
complete -c img-authz -n "__fish_img_authz_using_subcommand audit" -l fix -d 'Print the lines, flags and settings that would close findings; nothing is written'
complete -c img-authz -n "__fish_img_authz_using_subcommand audit" -s h -l help -d 'Print help'
complete -c img-authz -n "__fish_img_authz_using_subcommand settings; and not __fish_seen_subcommand_from check" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand settings; and not __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c img-authz -n "__fish_img_authz_using_subcommand settings; and not __fish_seen_subcommand_from check" -f -a "check" -d 'Say whether the gate would take these settings, before it is disabled to set them'
complete -c img-authz -n "__fish_img_authz_using_subcommand settings; and __fish_seen_subcommand_from check" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand settings; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand policy; and not __fish_seen_subcommand_from check show test diff import schema" -s h -l help -d 'Print help'
complete -c img-authz -n "__fish_img_authz_using_subcommand policy; and not __fish_seen_subcommand_from check show test diff import schema" -f -a "check" -d 'Say everything that is wrong with a policy file, before it is put in place'
complete -c img-authz -n "__fish_img_authz_using_subcommand policy; and not __fish_seen_subcommand_from check show test diff import schema" -f -a "show" -d 'Show the policy in force, as a policy file; also the one that variables mean'
complete -c img-authz -n "__fish_img_authz_using_subcommand policy; and not __fish_seen_subcommand_from check show test diff import schema" -f -a "test" -d 'Judge cases by a policy, without an engine or a registry'
complete -c img-authz -n "__fish_img_authz_using_subcommand policy; and not __fish_seen_subcommand_from check show test diff import schema" -f -a "diff" -d 'Say which cases another policy would answer differently, and why'
complete -c img-authz -n "__fish_img_authz_using_subcommand policy; and not __fish_seen_subcommand_from check show test diff import schema" -f -a "import" -d 'Print the policy of another tool as a policy file, and what could not be carried over'
complete -c img-authz -n "__fish_img_authz_using_subcommand policy; and not __fish_seen_subcommand_from check show test diff import schema" -f -a "schema" -d 'Print the JSON Schema of the policy file, for editors'
complete -c img-authz -n "__fish_img_authz_using_subcommand policy; and __fish_seen_subcommand_from check" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand policy; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand policy; and __fish_seen_subcommand_from show" -l shadow -d 'The candidate that is judged beside the policy in force'
complete -c img-authz -n "__fish_img_authz_using_subcommand policy; and __fish_seen_subcommand_from show" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand policy; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand policy; and __fish_seen_subcommand_from test" -l policy -d 'The policy; without it `policy.toml` in the folder of the cases' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand policy; and __fish_seen_subcommand_from test" -l junit -d 'Write a report for CI servers, in the XML of `JUnit`' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand policy; and __fish_seen_subcommand_from test" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand policy; and __fish_seen_subcommand_from test" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand policy; and __fish_seen_subcommand_from diff" -l cases -d 'Files of cases, or folders with files whose names end with `cases.toml`' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand policy; and __fish_seen_subcommand_from diff" -l record -d 'The folder in which the gate keeps the facts of its decisions (`record` in the policy file)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand policy; and __fish_seen_subcommand_from diff" -l since -d 'Of the record, only what was decided since: `7d`, `2027-01-31`, `2027-01-31T12:00:00Z`' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand policy; and __fish_seen_subcommand_from diff" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand policy; and __fish_seen_subcommand_from diff" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand policy; and __fish_seen_subcommand_from import" -l folder -d 'Write the policy, and the files that it names, into this folder; nothing there is overwritten' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand policy; and __fish_seen_subcommand_from import" -l server -d 'The Notary server, for a source that names none (`course`)' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand policy; and __fish_seen_subcommand_from import" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand policy; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand policy; and __fish_seen_subcommand_from schema" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand exception; and not __fish_seen_subcommand_from add list remove" -s h -l help -d 'Print help'
complete -c img-authz -n "__fish_img_authz_using_subcommand exception; and not __fish_seen_subcommand_from add list remove" -f -a "add" -d 'Add an exception'
complete -c img-authz -n "__fish_img_authz_using_subcommand exception; and not __fish_seen_subcommand_from add list remove" -f -a "list" -d 'Show the exceptions, also those that have ended'
complete -c img-authz -n "__fish_img_authz_using_subcommand exception; and not __fish_seen_subcommand_from add list remove" -f -a "remove" -d 'Take exceptions back: what they let pass is refused from then on'
complete -c img-authz -n "__fish_img_authz_using_subcommand exception; and __fish_seen_subcommand_from add" -l lift -d 'Rules that are lifted, by any of their names' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand exception; and __fish_seen_subcommand_from add" -l for -d 'For how long: 30m, 4h, 7d, 2w' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand exception; and __fish_seen_subcommand_from add" -l until -d 'Until when: 2026-12-04 (the end of that day in UTC) or 2026-12-04T18:00:00Z' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand exception; and __fish_seen_subcommand_from add" -l reason -d 'Why' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand exception; and __fish_seen_subcommand_from add" -l owner -d 'Who answers for it; without it who called sudo, or logged in' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand exception; and __fish_seen_subcommand_from add" -l ticket -d 'Where it is followed up' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand exception; and __fish_seen_subcommand_from add" -l policy -d 'The policy file, if not the gate\'s' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand exception; and __fish_seen_subcommand_from add" -l image-id -d 'The digest is an image id: of the classic store, for what was built or loaded here'
complete -c img-authz -n "__fish_img_authz_using_subcommand exception; and __fish_seen_subcommand_from add" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand exception; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand exception; and __fish_seen_subcommand_from list" -l policy -d 'The policy file, if not the gate\'s' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand exception; and __fish_seen_subcommand_from list" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand exception; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand exception; and __fish_seen_subcommand_from remove" -l policy -d 'The policy file, if not the gate\'s' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand exception; and __fish_seen_subcommand_from remove" -l ended -d 'All that have ended'
complete -c img-authz -n "__fish_img_authz_using_subcommand exception; and __fish_seen_subcommand_from remove" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand exception; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand status" -l json -d 'Print JSON: everything, as the gate says it'
complete -c img-authz -n "__fish_img_authz_using_subcommand status" -l watch -d 'Show it live, until `q`'
complete -c img-authz -n "__fish_img_authz_using_subcommand status" -s h -l help -d 'Print help'
complete -c img-authz -n "__fish_img_authz_using_subcommand log; and not __fish_seen_subcommand_from verify schema" -s n -l lines -d 'How many of the last entries to show first (default: 20; with --since: all)' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand log; and not __fish_seen_subcommand_from verify schema" -l since -d 'Only what is not older: 30s, 10m, 12h, 7d, 2w, a date, or 2027-01-31T12:00:00Z' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand log; and not __fish_seen_subcommand_from verify schema" -l until -d 'Only what is older than this, written like --since' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand log; and not __fish_seen_subcommand_from verify schema" -l image -d 'Only entries with this text in the image\'s name, id or digest' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand log; and not __fish_seen_subcommand_from verify schema" -l verdict -d 'Only decisions that came out so' -r -f -a "allow\t'The call may pass'
deny\t'It was refused'
would-deny\t'It passed, and would have been refused without mode `permissive`, or by the candidate for the policy'
would-allow\t'It was refused, and the candidate for the policy would let it pass'"
complete -c img-authz -n "__fish_img_authz_using_subcommand log; and not __fish_seen_subcommand_from verify schema" -l user -d 'Only calls of this user (the name in the client\'s certificate); `local`: of clients without a name' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand log; and not __fish_seen_subcommand_from verify schema" -l code -d 'Only refusals with this code, also those of a candidate' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand log; and not __fish_seen_subcommand_from verify schema" -l event -d 'Only this event: `allowed`, `blocked`, `created`, `killed` ...' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand log; and not __fish_seen_subcommand_from verify schema" -s f -l follow -d 'Keep going: show entries as they come'
complete -c img-authz -n "__fish_img_authz_using_subcommand log; and not __fish_seen_subcommand_from verify schema" -l blocked -d 'Only refusals'
complete -c img-authz -n "__fish_img_authz_using_subcommand log; and not __fish_seen_subcommand_from verify schema" -l json -d 'Print the entries as they are kept, JSON Lines'
complete -c img-authz -n "__fish_img_authz_using_subcommand log; and not __fish_seen_subcommand_from verify schema" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand log; and not __fish_seen_subcommand_from verify schema" -f -a "verify" -d 'Say whether the log is as it was written: up to where it is good, which entry is the first that is not, what its head is'
complete -c img-authz -n "__fish_img_authz_using_subcommand log; and not __fish_seen_subcommand_from verify schema" -f -a "schema" -d 'Print the JSON Schema of an entry'
complete -c img-authz -n "__fish_img_authz_using_subcommand log; and __fish_seen_subcommand_from verify" -l head -d 'A head that an earlier run printed and that was kept elsewhere: the log must still hold it' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand log; and __fish_seen_subcommand_from verify" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand log; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand log; and __fish_seen_subcommand_from schema" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand monitor; and not __fish_seen_subcommand_from status approve" -l once -d 'Look once, do what is to be done, and end'
complete -c img-authz -n "__fish_img_authz_using_subcommand monitor; and not __fish_seen_subcommand_from status approve" -l safe-mode -d 'Stop containers, and remove none'
complete -c img-authz -n "__fish_img_authz_using_subcommand monitor; and not __fish_seen_subcommand_from status approve" -l allow-unregistered -d 'Only report'
complete -c img-authz -n "__fish_img_authz_using_subcommand monitor; and not __fish_seen_subcommand_from status approve" -s h -l help -d 'Print help'
complete -c img-authz -n "__fish_img_authz_using_subcommand monitor; and not __fish_seen_subcommand_from status approve" -f -a "status" -d 'Show what was found, what was done, and what waits for you'
complete -c img-authz -n "__fish_img_authz_using_subcommand monitor; and not __fish_seen_subcommand_from status approve" -f -a "approve" -d 'Show what waits for you because it is too much at once, and let it be done'
complete -c img-authz -n "__fish_img_authz_using_subcommand monitor; and __fish_seen_subcommand_from status" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand monitor; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand monitor; and __fish_seen_subcommand_from approve" -s y -l yes -d 'Do not ask'
complete -c img-authz -n "__fish_img_authz_using_subcommand monitor; and __fish_seen_subcommand_from approve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand help" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand help" -s h -l help -d 'Print help'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and not __fish_seen_subcommand_from verify inspect pin status export import forget root" -s h -l help -d 'Print help'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and not __fish_seen_subcommand_from verify inspect pin status export import forget root" -f -a "verify" -d 'Verify one reference against the Notary server, or with all that a policy file requires'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and not __fish_seen_subcommand_from verify inspect pin status export import forget root" -f -a "inspect" -d 'Show all signatures of an image, of every kind; or what a Notary has of a repository'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and not __fish_seen_subcommand_from verify inspect pin status export import forget root" -f -a "pin" -d 'Learn from an image whom to trust, as a block for the policy file; or show the root of a Notary, and write it'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and not __fish_seen_subcommand_from verify inspect pin status export import forget root" -f -a "status" -d 'Show all repositories known here, the one that expires first in front, and the signatures that are kept'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and not __fish_seen_subcommand_from verify inspect pin status export import forget root" -f -a "export" -d 'Write verified trust data, or the signatures of images, to a file for a host that cannot reach the server'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and not __fish_seen_subcommand_from verify inspect pin status export import forget root" -f -a "import" -d 'Take in such a file; pins, dates and rollback count as if the server had answered'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and not __fish_seen_subcommand_from verify inspect pin status export import forget root" -f -a "forget" -d 'Forget what is known of a repository: its root, the versions seen, a withdrawal; or the signatures kept of a digest'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and not __fish_seen_subcommand_from verify inspect pin status export import forget root" -f -a "root" -d 'Show what a trusted root of Sigstore trusts (`trusted_root.json`), or check whether it is still up to date'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from verify" -l server -d 'The Notary server (default: NOTARY)' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from verify" -l root-ca -d 'PEM file of the CA of the server\'s certificate (default: `NOTARY_ROOT_CA`, docker\'s folders, the system\'s CAs)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from verify" -l verifier -d 'Which Notary verifier of the policy file (default: the first)' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from verify" -l state -d 'Folder for verified trust data (default: the gate\'s; for another server than NOTARY, or other pins than `NOTARY_PINS`, one of its own)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from verify" -l pins -d 'File with notary\'s `trust_pinning` block (default: `NOTARY_PINS`)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from verify" -l require -d 'A signer that must agree (`release-team`), besides those of `NOTARY_SIGNERS`; may be given several times' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from verify" -l policy -d 'Ask the verifiers of this policy file; with --verifier that one alone' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from verify" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from inspect" -l policy -d 'Judge each signature by the verifiers of this policy file (default: the gate\'s)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from inspect" -l server -d 'The Notary server (default: NOTARY)' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from inspect" -l root-ca -d 'PEM file of the CA of the server\'s certificate (default: `NOTARY_ROOT_CA`, docker\'s folders, the system\'s CAs)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from inspect" -l verifier -d 'Which Notary verifier of the policy file (default: the first)' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from inspect" -l state -d 'Folder for verified trust data (default: the gate\'s; for another server than NOTARY, or other pins than `NOTARY_PINS`, one of its own)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from inspect" -l pins -d 'File with notary\'s `trust_pinning` block (default: `NOTARY_PINS`)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from inspect" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from inspect" -l offline -d 'Ask nobody: show what is known here of the repository'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from inspect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from pin" -l key -d 'A file with the public key that the publisher of the image gave you' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from pin" -l signer -d 'Of several signers of the image, the one that is its publisher\'s, as it is listed without this' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from pin" -l name -d 'What the verifier is to be called' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from pin" -l server -d 'The Notary server (default: NOTARY)' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from pin" -l root-ca -d 'PEM file of the CA of the server\'s certificate (default: `NOTARY_ROOT_CA`, docker\'s folders, the system\'s CAs)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from pin" -l verifier -d 'Which Notary verifier of the policy file (default: the first)' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from pin" -l state -d 'Folder for verified trust data (default: the gate\'s; for another server than NOTARY, or other pins than `NOTARY_PINS`, one of its own)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from pin" -l pins -d 'File with notary\'s `trust_pinning` block (default: `NOTARY_PINS`)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from pin" -l write -d 'Add the pin to this file' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from pin" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from pin" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from status" -l verifier -d 'Which Notary verifier of the policy file (default: the first)' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from status" -l state -d 'Folder for verified trust data (default: the gate\'s)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from status" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from export" -l file -d 'The file to write' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from export" -l server -d 'The Notary server (default: NOTARY)' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from export" -l root-ca -d 'PEM file of the CA of the server\'s certificate (default: `NOTARY_ROOT_CA`, docker\'s folders, the system\'s CAs)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from export" -l verifier -d 'Which Notary verifier of the policy file (default: the first)' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from export" -l state -d 'Folder for verified trust data (default: the gate\'s; for another server than NOTARY, or other pins than `NOTARY_PINS`, one of its own)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from export" -l pins -d 'File with notary\'s `trust_pinning` block (default: `NOTARY_PINS`)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from export" -l signatures -d 'Carry what lies beside these images in their registry: signatures of cosign and notation, and attestations'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from export" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from export" -l offline -d 'Ask nobody: export what is known here, without the roots before it, which a host that knows an older one needs'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from import" -l undo-withdrawal -d 'Take in what was taken back, too: the publisher says that he has signed again since. Bare for what the server took back; for signatures the digest, each: --undo-withdrawal=sha256:…' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from import" -l server -d 'The Notary server (default: NOTARY)' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from import" -l root-ca -d 'PEM file of the CA of the server\'s certificate (default: `NOTARY_ROOT_CA`, docker\'s folders, the system\'s CAs)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from import" -l verifier -d 'Which Notary verifier of the policy file (default: the first)' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from import" -l state -d 'Folder for verified trust data (default: the gate\'s; for another server than NOTARY, or other pins than `NOTARY_PINS`, one of its own)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from import" -l pins -d 'File with notary\'s `trust_pinning` block (default: `NOTARY_PINS`)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from import" -l all -d 'Of a bundle of signatures: whatever it holds. Whoever carried it chose that'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from import" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from forget" -l verifier -d 'Which Notary verifier of the policy file (default: the first)' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from forget" -l state -d 'Folder for verified trust data (default: the gate\'s)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from forget" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from forget" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from root" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from root" -f -a "show" -d 'Show its logs and authorities, and when they count'
complete -c img-authz -n "__fish_img_authz_using_subcommand trust; and __fish_seen_subcommand_from root" -f -a "check" -d 'The same, with what has to be done: exit code 2 if there is anything'
complete -c img-authz -n "__fish_img_authz_using_subcommand migrate" -l policy -d 'The policy file that is to count once the Notary does not: its verifiers judge what is there' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand migrate" -l server -d 'The Notary server (default: NOTARY)' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand migrate" -l root-ca -d 'PEM file of the CA of the server\'s certificate (default: `NOTARY_ROOT_CA`, docker\'s folders, the system\'s CAs)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand migrate" -l verifier -d 'Which Notary verifier of the policy file (default: the first)' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand migrate" -l state -d 'Folder for verified trust data (default: the gate\'s; for another server than NOTARY, or other pins than `NOTARY_PINS`, one of its own)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand migrate" -l pins -d 'File with notary\'s `trust_pinning` block (default: `NOTARY_PINS`)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand migrate" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand migrate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand register" -l compose -d 'The images that a compose file names; `-`: standard input' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand register" -l reason -d 'Why, for those who read the list' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand register" -l expires -d 'When the approval ends: 90d, 12h, 4w, 2027-01-31 or 2027-01-31T12:00:00Z' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand register" -l scan -d 'What a scanner found in it: Trivy\'s or Grype\'s report, as JSON. Nobody checks who made it; rules in Rego see the facts' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand register" -l sbom -d 'What is in it: SPDX 2 or `CycloneDX`, as JSON; likewise' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand register" -l file -d 'The allowlist, if not the gate\'s own (ALLOWLIST, or allowlist.json in `CONFIG_DIR`)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand register" -l out -d 'Change nothing: write the list as it would be to this new file, to be signed elsewhere (allowlist sign)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand register" -l running -d 'The images of all containers that run, as this host has them; they are shown, and it asks'
complete -c img-authz -n "__fish_img_authz_using_subcommand register" -l from-host -d 'Approve the content that this host has, only'
complete -c img-authz -n "__fish_img_authz_using_subcommand register" -l from-registry -d 'Approve the content that the registry has now, only'
complete -c img-authz -n "__fish_img_authz_using_subcommand register" -l image-id -d 'Write the image id besides, for images of the classic store that are loaded without their registry\'s digest'
complete -c img-authz -n "__fish_img_authz_using_subcommand register" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand register" -s y -l yes -d 'Do not ask'
complete -c img-authz -n "__fish_img_authz_using_subcommand register" -s h -l help -d 'Print help'
complete -c img-authz -n "__fish_img_authz_using_subcommand unregister" -l file -d 'The allowlist, if not the gate\'s own (ALLOWLIST, or allowlist.json in `CONFIG_DIR`)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand unregister" -l out -d 'Change nothing: write the list as it would be to this new file, to be signed elsewhere (allowlist sign)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand unregister" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand unregister" -s h -l help -d 'Print help'
complete -c img-authz -n "__fish_img_authz_using_subcommand plugin; and not __fish_seen_subcommand_from digest" -s h -l help -d 'Print help'
complete -c img-authz -n "__fish_img_authz_using_subcommand plugin; and not __fish_seen_subcommand_from digest" -f -a "digest" -d 'Print NAME@sha256:DIGEST of a plugin on this host: its root filesystem and its whole configuration with settings'
complete -c img-authz -n "__fish_img_authz_using_subcommand plugin; and __fish_seen_subcommand_from digest" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand plugin; and __fish_seen_subcommand_from digest" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand allowlist; and not __fish_seen_subcommand_from list prune propose sign" -s h -l help -d 'Print help'
complete -c img-authz -n "__fish_img_authz_using_subcommand allowlist; and not __fish_seen_subcommand_from list prune propose sign" -f -a "list" -d 'Show every entry'
complete -c img-authz -n "__fish_img_authz_using_subcommand allowlist; and not __fish_seen_subcommand_from list prune propose sign" -f -a "prune" -d 'Remove entries that have expired, or whose image is no longer on this host'
complete -c img-authz -n "__fish_img_authz_using_subcommand allowlist; and not __fish_seen_subcommand_from list prune propose sign" -f -a "propose" -d 'Write for review the list that would approve what was seen on this host, as the audit log has it; nothing is approved by it'
complete -c img-authz -n "__fish_img_authz_using_subcommand allowlist; and not __fish_seen_subcommand_from list prune propose sign" -f -a "sign" -d 'Sign a list with a private key, on another machine than the guarded host'
complete -c img-authz -n "__fish_img_authz_using_subcommand allowlist; and __fish_seen_subcommand_from list" -l file -d 'The allowlist, if not the gate\'s own (ALLOWLIST, or allowlist.json in `CONFIG_DIR`)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand allowlist; and __fish_seen_subcommand_from list" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand allowlist; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand allowlist; and __fish_seen_subcommand_from prune" -l file -d 'The allowlist, if not the gate\'s own (ALLOWLIST, or allowlist.json in `CONFIG_DIR`)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand allowlist; and __fish_seen_subcommand_from prune" -l out -d 'Change nothing: write the list as it would be to this new file, to be signed elsewhere (allowlist sign)' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand allowlist; and __fish_seen_subcommand_from prune" -l absent -d 'Not only what has expired: also entries whose image is neither on this host nor used by a container'
complete -c img-authz -n "__fish_img_authz_using_subcommand allowlist; and __fish_seen_subcommand_from prune" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand allowlist; and __fish_seen_subcommand_from prune" -s y -l yes -d 'Do not ask'
complete -c img-authz -n "__fish_img_authz_using_subcommand allowlist; and __fish_seen_subcommand_from prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand allowlist; and __fish_seen_subcommand_from propose" -l since -d 'Only what was used since then: 12h, 7d, 2w, a date, or 2027-01-31T12:00:00Z' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand allowlist; and __fish_seen_subcommand_from propose" -l out -d 'Write it to this new file, and not to standard output' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand allowlist; and __fish_seen_subcommand_from propose" -l file -d 'The allowlist in force, if not the gate\'s own: what it has already is not proposed again' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand allowlist; and __fish_seen_subcommand_from propose" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c img-authz -n "__fish_img_authz_using_subcommand allowlist; and __fish_seen_subcommand_from sign" -l key -d 'The private key: Ed25519, PKCS#8, PEM' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand allowlist; and __fish_seen_subcommand_from sign" -l out -d 'Write the signed list to this file, and leave the other as it is' -r -F
complete -c img-authz -n "__fish_img_authz_using_subcommand allowlist; and __fish_seen_subcommand_from sign" -l serial -d 'The list\'s serial, if not the one in it: higher than that of the list in force' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand allowlist; and __fish_seen_subcommand_from sign" -l list -d 'The verifier whose list it is, if not the one in it: `allowlist`, or the name in the policy file' -r
complete -c img-authz -n "__fish_img_authz_using_subcommand allowlist; and __fish_seen_subcommand_from sign" -l json -d 'Print JSON'
complete -c img-authz -n "__fish_img_authz_using_subcommand allowlist; and __fish_seen_subcommand_from sign" -s h -l help -d 'Print help (see more with \'--help\')'
