#!/bin/sh
# layer-inside.sh PACKAGE VERSION HOST: install the host's package, in the image itself. Exit code 10: apt could not.
set -eu
package=$1 version=$2 host=$3
own=/run/toto/apt

# The state of dpkg in here is to be the target's: nothing is left behind but what the packages bring.
mkdir -p "$own/lists/partial" "$own/archives/partial"
echo 'deb [trusted=yes] file:/run/toto/release ./' >"$own/sources.list"
printf 'Package: *\nPin: release l=toto\nPin-Priority: 1001\n' >"$own/preferences"
cat >"$own/apt.conf" <<'APT'
Dir::Etc::sourcelist "/run/toto/apt/sources.list"; Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/run/toto/apt/preferences"; Dir::Etc::preferencesparts "/dev/null";
Dir::State::lists "/run/toto/apt/lists"; Dir::Cache::archives "/run/toto/apt/archives";
Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache ""; Dir::Log "/run/toto/apt";
Acquire::Languages "none"; APT::Sandbox::User "root"; APT::Install-Recommends "0";
DPkg::Options { "--force-confdef"; "--force-confold"; "--force-unsafe-io"; };
APT
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
export APT_CONFIG="$own/apt.conf" UCF_FORCE_CONFFOLD=1 NEEDRESTART_SUSPEND=1
apt-get -q update
apt-get -q -y --allow-downgrades install "$package=$version" </dev/null || exit 10
rm -f /usr/sbin/policy-rc.d

if [ -s /run/toto/guest.tar ]; then tar -C / -xpf /run/toto/guest.tar; fi
echo "$host" >/etc/hostname
: >/etc/machine-id
