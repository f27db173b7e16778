# shellcheck shell=bash disable=SC2154,SC2016
# What owners and signers do by `docker trust`, and hosts behind an air gap, followed by a gate that runs, on the real notary-server.
# Sourced by trust-interop.sh, whose words it uses. No engine: `docker trust` needs one only to make a tag's first signature, which
# the `notary` client makes here; test/suite/signers.sh has the rest.

# person NAME COMMAND...: one who signs, with keys of their own
person() {
    local config=$dir/people/$1
    shift
    mkdir -p "$config/tls/${url#https://}"
    cp "$dir/ca.crt" "$config/tls/${url#https://}/"
    DOCKER_CONFIG=$config DOCKER_CONTENT_TRUST_SERVER=$url DOCKER_HOST=unix:///nowhere.sock \
        DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE=$NOTARY_ROOT_PASSPHRASE \
        DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE=$NOTARY_TARGETS_PASSPHRASE "$@" > "$dir/client.log" 2>&1 ||
        die "$config: $* failed: $(tail -n 3 "$dir/client.log")"
}

# by NAME ARGUMENT...: the `notary` client with the keys of one who uses `docker trust`
by() {
    local name=$1
    shift
    person "$name" command notary -c "$dir/client.json" -d "$dir/people/$name/trust" "$@"
}

# first_signed NAME TAG CONTENT: the release and the signer's own role, as `docker trust sign` leaves them
first_signed() { by "$1" addhash -p "$gun" "$2" 3 --sha256 "$(hash_of "$3")" --roles targets/releases --roles "targets/$1"; }

signed_too() { person "$1" docker trust sign "$gun:$2"; }

signer() { # NAME: a key, and the public half of it
    mkdir -p "$dir/people"
    (cd "$dir/people" && person "$1" docker trust key generate "$1")
}

# signers_with_tokens: `docker trust` where the server wants a token. The credentials are those of the registry
signers_with_tokens() {
    local name
    gun=localhost:5000/interop/tokens
    for name in owner alice bob; do
        printf '{"auths": {"localhost:5000": {"auth": "%s"}}}\n' "$NOTARY_AUTH" > "$dir/people/$name/config.json"
    done
    for name in alice bob; do person owner docker trust signer add --key "$dir/people/$name.pub" "$name" "$gun"; done
    first_signed alice 1.0 one
    serve FRESHNESS=1 NOTARY_SIGNERS='*=alice,bob' STATE_DIR="$dir/tokens"
    within_window 'with tokens, one of two signers' 1.0 'required signer `bob` has not signed'
    signed_too bob 1.0
    within_window 'with tokens, both' 1.0 '"Allow":true'
    person bob docker trust revoke --yes "$gun:1.0"
    within_window 'with tokens, revoked' 1.0 not-signed
}

gun=localhost:5000/interop/team
signer alice
signer bob
person owner docker trust signer add --key "$dir/people/alice.pub" alice "$gun"
person owner docker trust signer add --key "$dir/people/bob.pub" bob "$gun"
serve FRESHNESS="$window" NOTARY_SIGNERS="localhost:5000/interop/*=alice,bob" STATE_DIR="$dir/team"
within_window 'signers, and no signature' 1.0 not-signed
first_signed alice 1.0 one
within_window 'one of two signers has signed' 1.0 'signer-missing: `localhost:5000/interop/team:1.0`: required signer `bob` has not signed tag `1.0`'
signed_too bob 1.0
within_window 'both have signed' 1.0 '"Allow":true'
grep -q '"event":"BLOCKED".*"code":"signer-missing"' "$dir/team/audit.jsonl" || die 'the audit log lacks who lacked'
grep -q '"event":"ALLOWED".*"signers":\["alice","bob"\]' "$dir/team/audit.jsonl" || die 'the audit log lacks the signers'
answer=$(NOTARY_SIGNERS="$gun=alice,carol" verify 1.0) && die "verify without a required signer: $answer"
[[ $answer == *'"code":"signer-missing"'*carol* ]] || die "verify without a required signer: $answer"
answer=$(NOTARY_SIGNERS="$gun=alice,bob" verify 1.0) || die "verify with both: $answer"
checks=$((checks + 4))
first_signed alice 1.0 two
within_window 'one has moved the tag' 1.0 'required signer `bob` signed tag `1.0` as sha256:'
signed_too bob 1.0
within_window 'the other too' 1.0 '"Allow":true'
person bob docker trust revoke --yes "$gun:1.0"
within_window 'docker trust revoke' 1.0 not-signed

# The keys of the repository, while signers go on.
turn=0
for rotation in 'timestamp -r' 'snapshot -r' targets snapshot 'snapshot -r'; do
    turn=$((turn + 1))
    # shellcheck disable=SC2086  # a role, and perhaps a flag
    by owner key rotate "$gun" $rotation
    # While the owner holds the snapshot key nobody else can publish.
    [[ $rotation = snapshot ]] && continue
    first_signed alice "rotated-$turn" one
    signed_too bob "rotated-$turn"
    within_window "key rotate $rotation, with signers" "rotated-$turn" '"Allow":true'
done
by owner key rotate "$gun" root < <(echo yes)
first_signed alice rotated-root one
signed_too bob rotated-root
within_window 'key rotate root, with signers' rotated-root '"Allow":true'

# A signer is taken away. The releases were signed by his key alone, so nothing holds until another signs them.
first_signed bob bob-alone one
within_window 'the other signer alone' bob-alone 'required signer `alice` has not signed tag'
person owner docker trust signer remove bob "$gun" < <(yes y 2> /dev/null)
# Docker's command line 28 removes only who signed the releases alone, and keeps quiet about the others.
if ! grep -q '^Successfully removed' "$dir/client.log"; then
    key=$(grep -l 'role: bob' "$dir/people/bob/trust/private/"*.key)
    by owner delegation remove -p "$gun" targets/releases "$(basename "$key" .key)"
    by owner delegation remove -p "$gun" targets/bob --yes
fi
within_window 'docker trust signer remove, of who signed last' rotated-root trust-invalid
by alice witness -p "$gun" targets/releases
within_window 'the signer removed' rotated-root 'required signer `bob` is not a signer of'
person owner docker trust signer add --key "$dir/people/bob.pub" bob "$gun"
within_window 'the signer back, without a signature' rotated-root 'required signer `bob` '
signed_too bob rotated-root
within_window 'the signer back' rotated-root '"Allow":true'
gone

# A host without a way to Notary.
gun=localhost:5000/interop/gap
# carry NAME [ARGUMENT...]: a bundle of the repository as the server has it now
carry() {
    local name=$1
    shift
    "$gate" trust export "$gun" --file "$dir/$name.bundle" --server "$url" --root-ca "$dir/ca.crt" --state "$dir/exporter" "$@" \
        > "$dir/client.log" 2>&1 || die "trust export: $(< "$dir/client.log")"
}
# takes_in BUNDLE [STATE]
takes_in() { NOTARY=import "$gate" trust import "$dir/$1.bundle" --state "${2:-$dir/gap/trust}"; }
# refuses WHAT BUNDLE CODE [STATE]: with this code, and with a remedy
refuses() {
    local answer status=0
    answer=$(takes_in "$2" "${4:-$dir/gap/trust}" 2>&1) || status=$?
    [[ $status = 2 && $answer == *"($3)"*'; '* ]] || die "$1: exit $status, $answer"
    checks=$((checks + 1))
}
notary init -p "$gun"
notary addhash -p "$gun" 1.0 3 --sha256 "$(hash_of one)"
carry first
serve FRESHNESS=1 NOTARY=import NOTARY_ROOT_CA= STATE_DIR="$dir/gap"
within_window 'nothing was imported' 1.0 trust-not-imported
takes_in first > /dev/null 2>> "$dir/gate.log" || die 'the first bundle is not taken in'
within_window 'imported' 1.0 '"Allow":true'
within_window 'not in the bundle' 2.0 not-signed
cp -r "$dir/gap" "$dir/gap-first"
rotated_root() { notary key rotate "$gun" root < <(echo yes); }
rotated_root
rotated_root
notary addhash -p "$gun" 2.0 3 --sha256 "$(hash_of two)"
notary remove -p "$gun" 1.0
carry third
takes_in third > /dev/null 2>> "$dir/gate.log" || die 'a bundle after two rotations of the root is not taken in'
within_window 'root keys rotated twice in between' 2.0 '"Allow":true'
within_window 'taken back by the bundle' 1.0 not-signed
refuses 'an older bundle' first trust-rolled-back
carry bare --offline
refuses 'a bundle without the roots in between' bare root-not-trusted "$dir/gap-first/trust"
takes_in bare "$dir/gap-new" > /dev/null 2>> "$dir/gate.log" || die 'a new host needs no roots in between'
head -c 2000 "$dir/third.bundle" > "$dir/cut.bundle"
refuses 'a bundle that was cut' cut trust-invalid
sed 's/targets/targetz/' "$dir/third.bundle" > "$dir/edited.bundle"
refuses 'a bundle that was edited' edited trust-invalid
truncate -s 300M "$dir/huge.bundle"
status=0
answer=$(takes_in huge 2>&1) || status=$?
[[ $status = 1 && $answer == *'is larger than 256 MiB'*'; '* ]] || die "a huge bundle: exit $status, $answer"
checks=$((checks + 1))
notary delete --remote "$gun"
notary init -p "$gun"
notary addhash -p "$gun" 2.0 3 --sha256 "$(hash_of evil)"
rm -r "$dir/exporter"
carry foreign
refuses 'a bundle of another root' foreign trust-rolled-back
rotated_root
carry stranger
refuses 'a bundle of another root that says it is the next' stranger root-not-trusted "$dir/gap-first/trust"
printf '{"certs": {"%s": ["%064d"]}}' "$gun" 0 > "$dir/pins.json"
NOTARY_PINS=$(< "$dir/pins.json") refuses 'a bundle of a root that is not pinned' third root-not-trusted "$dir/gap-pinned"
within_window 'after all that' 2.0 '"Allow":true'
gone
