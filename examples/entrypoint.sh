#!/bin/sh
# A push server (ROLE=push) or an hgweb server (ROLE=hgweb) of compose.yaml.
set -eu
repo=/srv/hg/try
bucket=hg-drafts
endpoint=http://s3:8333

as_hg() { su hg -c "$1"; }

until python3 - <<EOF
import boto3
try:
    s3 = boto3.client('s3', endpoint_url='$endpoint', region_name='us-east-1')
    names = [b['Name'] for b in s3.list_buckets()['Buckets']]
    '$bucket' in names or s3.create_bucket(Bucket='$bucket')
except Exception as exc:
    raise SystemExit(f'waiting for the S3 server: {exc}')
EOF
do sleep 1; done

if [ ! -d "$repo" ]; then
    if [ "$ROLE" = push ]; then
        as_hg "hg init $repo"
    else
        until as_hg "hg clone -U http://push:8000/ $repo"; do sleep 1; done
    fi
fi

cat > "$repo/.hg/hgrc" <<EOF
[extensions]
hgext_headless.web =
hgext_headless.web:required = yes
[headless]
repository = try
database = postgresql+psycopg2://headless@postgres/headless
store = s3://$bucket
s3-endpoint-url = $endpoint
s3-region = us-east-1
link-secret = not a secret: this is an example
# Clients outside do not reach the S3 server.
inline = always
[web]
push_ssl = no
EOF
# hg ignores the hgrc of another user, of root too.
chown hg "$repo/.hg/hgrc"
if [ "$ROLE" = push ]; then
    cat >> "$repo/.hg/hgrc" <<EOF
allow-push = *
[extensions]
hgext_headless.push =
hgext_headless.push:required = yes
[headless]
# What links of pushes over ssh begin with.
link-base = http://localhost:8001/
EOF
    as_hg "hg -R $repo admin::headless-init"
    # For the key in SSH_KEY. sshd passes no environment on.
    if [ -n "${SSH_KEY:-}" ]; then
        install -d -o hg -m 700 /home/hg/.aws /home/hg/.ssh
        printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' \
            "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" > /home/hg/.aws/credentials
        echo "restrict,command=\"hg -R $repo serve --stdio\" $SSH_KEY" > /home/hg/.ssh/authorized_keys
        mkdir -p /run/sshd && /usr/sbin/sshd
    fi
else
    as_hg "hg --config extensions.hgext_headless.push= -R $repo admin::headless-init"
fi
as_hg "hg -R $repo admin::headless-follow --watch" &
as_hg "hg -R $repo serve --address 0.0.0.0 --port 8000"
