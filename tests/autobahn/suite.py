# Autobahn's fuzzing server and client, each case's verdict as a JSON line. For Python 2.7, which the suite needs.
#
#   python2.7 suite.py list PATTERN...                        the cases that match
#   python2.7 suite.py server PORT CERTIFICATE KEY CASE...    serves cases on 127.0.0.1
#   python2.7 suite.py client URL LANES CASE...               runs cases against a server, LANES of them at a time;
#                                                             SSL_CERT_FILE has the authorities to trust
#
# MESSAGES is how many messages each case of sections 12 and 13 sends instead of 1,000.
import json
import os
import sys
from collections import deque

import swift  # noqa: for what importing it does
from autobahntestsuite import fuzzing
from autobahntestsuite.case import Case, CaseBasename, Cases, CaseCategories, CaseSetname, CaseSubCategories
from autobahntestsuite.caseset import CaseSet
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from zope.interface import implementer

HEARD = ("id", "behavior", "behaviorClose", "remoteCloseCode", "duration", "result", "resultClose")


def tell(event, **fields):
    print json.dumps(dict(fields, event=event))
    sys.stdout.flush()


def list_cases(*patterns):
    every = CaseSet(CaseSetname, CaseBasename, Cases, CaseCategories, CaseSubCategories)
    tell("cases", cases=every.parseSpecCases({"cases": patterns}))


def serve(port, certificate, key, *cases):
    listen = fuzzing.listenWS
    fuzzing.listenWS = lambda factory, context: listen(factory, context, interface="127.0.0.1")
    spec = {"url": "wss://localhost:%s" % port, "key": key, "cert": certificate, "cases": cases}
    fuzzing.startServer(spec, webport=0)
    tell("listening", port=int(port))
    reactor.run()


@implementer(IOpenSSLClientConnectionCreator)
class Verifying(object):
    """The suite's own client names no server in its ClientHello, and verifies none."""

    def __init__(self, host):
        self.host = host
        self.context = SSL.Context(SSL.SSLv23_METHOD)
        self.context.load_verify_locations(os.environ["SSL_CERT_FILE"])
        self.context.set_verify(SSL.VERIFY_PEER, lambda connection, certificate, error, depth, good: good)

    def clientConnectionForTLS(self, protocol):
        connection = SSL.Connection(self.context, None)
        connection.set_tlsext_host_name(self.host)
        return connection


class Lane(fuzzing.FuzzingClientFactory):
    """Runs one case after the other; several share the cases that are left."""

    left = deque()
    running = 0

    def nextCase(self):
        if not self.left:
            return False
        self.currentCaseId = self.left.popleft()
        self.currentCaseIndex = self.CaseSet.CasesIndices[self.currentCaseId]
        return True

    def clientConnectionLost(self, connector, reason):
        if self.nextCase():
            connector.connect()
        else:
            Lane.running -= 1
            if not Lane.running:
                reactor.stop()

    def clientConnectionFailed(self, connector, reason):
        tell("unreachable", id=self.currentCaseId, why=reason.getErrorMessage())
        self.clientConnectionLost(connector, reason)


def connect(url, lanes, *cases):
    connect = fuzzing.connectWS
    fuzzing.connectWS = lambda factory: connect(factory, Verifying(factory.host))
    Lane.left.extend(cases)
    Lane.running = min(int(lanes), len(cases))
    for _ in range(Lane.running):
        Lane({"servers": [{"url": url, "agent": "testee"}], "cases": []})
    reactor.run()


def log_case(factory, result):
    tell("case", **{field: result[field] for field in HEARD})


fuzzing.FuzzingFactory.logCase = log_case
for case in Cases:
    if hasattr(case, "COUNT"):
        case.COUNT = int(os.environ.get("MESSAGES", case.COUNT))
{"list": list_cases, "server": serve, "client": connect}[sys.argv[1]](*sys.argv[2:])
