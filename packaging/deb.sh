#!/bin/bash
# Makes the Debian package of a program that is compiled already: dpkg-deb alone, no network, the same bytes each time.
#
#   deb.sh PROGRAM FOLDER     the package's path is the last line printed
#
# VERSION is that of Cargo.toml, COMPRESSION xz unless given. SOURCE_DATE_EPOCH is the date of the last commit unless given.
# Whoever gives packages away answers for them, by name and mail: DEBFULLNAME, DEBEMAIL, as for Debian's own tools. Unless given, the
# address says that there is none (RFC 2606).
set -euo pipefail
cd "$(dirname "$0")/.."
program=${1:?the program} folder=${2:?the folder for the package}
# As the head of the program says (ELF, e_machine).
case $(od -An -tx1 -j18 -N2 "$program") in
' 3e 00') architecture=amd64 ;;
' b7 00') architecture=arm64 ;;
*) echo "deb.sh: $program is not a program for amd64 or arm64" >&2; exit 1 ;;
esac
version=${VERSION:-$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2> /dev/null || date -r CHANGELOG.md +%s)}
export SOURCE_DATE_EPOCH
export TZ=UTC LC_ALL=C
maintainer="${DEBFULLNAME:-The authors of img-authz} <${DEBEMAIL:-nobody@img-authz.invalid}>"
umask 022

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
# put FILE PATH [MODE]
put() { install -D -m "${3:-644}" "$1" "$tree/$2"; }
# pack FILE PATH: compressed, without name and date
pack() { install -d "$(dirname "$tree/$2")" && gzip -9nc "$1" > "$tree/$2.gz"; }

put "$program" usr/bin/img-authz 755
for unit in packaging/systemd/*; do put "$unit" "usr/lib/systemd/system/${unit##*/}"; done
put packaging/debian/default etc/default/img-authz
for page in packaging/man/*; do pack "$page" "usr/share/man/man1/${page##*/}"; done
put packaging/completions/img-authz usr/share/bash-completion/completions/img-authz
put packaging/completions/_img-authz usr/share/zsh/vendor-completions/_img-authz
put packaging/completions/img-authz.fish usr/share/fish/vendor_completions.d/img-authz.fish
documents=usr/share/doc/img-authz
# Debian's own form, for a package without an upstream's; ours is beside it.
printf 'img-authz (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md.gz.\n\n -- %s  %s\n' "$version" "$maintainer" \
    "$(date --date="@$SOURCE_DATE_EPOCH" --rfc-email)" > "$tree/changelog"
pack "$tree/changelog" $documents/changelog
rm "$tree/changelog"
for document in README.md CHANGELOG.md docs/*.md; do pack "$document" "$documents/${document##*/}"; done
for file in docs/*.schema.json; do put "$file" "$documents/${file##*/}"; done
mkdir -p "$tree/$documents/examples"
cp -r --no-preserve=all examples/policies "$tree/$documents/examples/"
{
    printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: img-authz\n\n'
    printf 'Files: *\nCopyright: %s the authors of img-authz\nLicense: Apache-2.0\n' "$(date --date="@$SOURCE_DATE_EPOCH" +%Y)"
    printf ' On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.\n'
} > "$tree/$documents/copyright"
put packaging/debian/lintian-overrides usr/share/lintian/overrides/img-authz

mkdir "$tree/DEBIAN"
cp packaging/debian/conffiles "$tree/DEBIAN/"
for script in postinst prerm postrm; do install -m 755 "packaging/debian/$script" "$tree/DEBIAN/"; done
(cd "$tree" && find etc usr -type f -print0 | sort -z | xargs -0 md5sum) > "$tree/DEBIAN/md5sums"
size=$(cd "$tree" && find etc usr -type f -printf '%s\n' | awk '{ kilobytes += int(($1 + 1023) / 1024) } END { print kilobytes }')
cat > "$tree/DEBIAN/control" << END
Package: img-authz
Version: $version
Architecture: $architecture
Maintainer: $maintainer
Installed-Size: $size
Section: admin
Priority: optional
Depends: ca-certificates
Recommends: docker.io | docker-ce
Description: decides which container images may enter and run on a Docker host
 An authorization plugin for Docker, as a systemd service. dockerd asks it
 before every call of its API, and it lets a container start only if the bytes
 of its image were approved: by a Notary v1 or cosign signature, or a list.
 .
 Installed, it is not asked yet: \`img-authz enable\` names it in daemon.json.
 Its removal takes it out again first.
END
chmod -R u=rwX,go=rX "$tree"
find "$tree" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
mkdir -p "$folder"
package=$folder/img-authz_${version}_$architecture.deb
# One thread: several cut the file in as many pieces as the machine has.
dpkg-deb --root-owner-group "-Z${COMPRESSION:-xz}" --threads-max=1 --build "$tree" "$package" > /dev/null
echo "$package"
