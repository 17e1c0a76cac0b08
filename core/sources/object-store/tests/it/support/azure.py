"""Makes the container `files` of an Azure Blob server.

usage: azure.py HOST:PORT ACCOUNT KEY
"""

import base64
import datetime
import hashlib
import hmac
import http.client
import sys

address, account, key = sys.argv[1:]
date = datetime.datetime.now(datetime.timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT")
headers = f"x-ms-date:{date}\nx-ms-version:2021-08-06"
signed = "PUT" + "\n" * 12 + f"{headers}\n/{account}/{account}/files\nrestype:container"
signature = base64.b64encode(hmac.new(base64.b64decode(key), signed.encode(), hashlib.sha256).digest()).decode()
headers = dict(line.split(":", 1) for line in headers.split("\n")) | {"Authorization": f"SharedKey {account}:{signature}"}
connection = http.client.HTTPConnection(address)
connection.request("PUT", f"/{account}/files?restype=container", headers=headers)
answer = connection.getresponse()
sys.exit(0 if answer.status == 201 else f"{answer.status} {answer.read()}")
