"""What a visitor's fields may not say: who visits, how it came, and what was asked.

Somebody's framework, or the proxy it was written for, believes each of these; behind Ferry only the gateway knows, and
it says so in `X-Forwarded-*` and `Forwarded`. So they are dropped, in any spelling that CGI, WSGI or Rack read as the
same variable.

Not among them: `X-HTTP-Method-Override` and its like. Whoever sends it could have sent that method: every method that
it may name passes here. `Via` and `CDN-Loop` tell of other proxies, and pass on.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

CLAIMS: Final[Mapping[bytes, str]] = MappingProxyType(
    {
        # the visitor's address
        b"forwarded": "RFC 7239; ours to write",
        b"x-forwarded": "an older spelling of Forwarded, which some still read",
        b"x-client-ip": "Apache mod_remoteip, request-ip",
        b"client-ip": "Rails' RemoteIp, and PHP programs as HTTP_CLIENT_IP",
        b"x-cluster-client-ip": "Rackspace, Riverbed, F5",
        b"x-originating-ip": "Exchange and F5",
        b"x-proxyuser-ip": "Google's translation and reading services",
        b"proxy-client-ip": "Java programs written for Apache",
        b"wl-proxy-client-ip": "WebLogic",
        b"true-client-ip": "Akamai and Cloudflare",
        b"cf-connecting-ip": "Cloudflare",
        b"cf-connecting-ipv6": "Cloudflare",
        b"cf-pseudo-ipv4": "Cloudflare",
        b"cf-ipcountry": "Cloudflare: the visitor's country",
        b"fastly-client-ip": "Fastly",
        b"fly-client-ip": "Fly.io",
        b"do-connecting-ip": "DigitalOcean",
        b"x-appengine-user-ip": "Google App Engine",
        b"x-azure-clientip": "Azure Front Door",
        b"x-azure-socketip": "Azure Front Door",
        b"x-nf-client-connection-ip": "Netlify",
        # who the visitor is
        b"remote-user": "Authelia and Django's RemoteUserMiddleware behind a proxy",
        b"remote-groups": "Authelia",
        b"remote-name": "Authelia",
        b"remote-email": "Authelia",
        b"x-webauth-user": "Grafana and Gitea behind a proxy that logs people in",
        b"cf-access-authenticated-user-email": "Cloudflare Access",
        b"x-amzn-oidc-identity": "AWS load balancers",
        b"client-cert": "RFC 9440; no client certificates are asked for here",
        b"client-cert-chain": "RFC 9440",
        b"x-client-cert": "the same before there was an RFC",
        b"x-arr-clientcert": "IIS and Azure",
        # how it came
        b"x-scheme": "nginx's ingress, Sinatra",
        b"x-url-scheme": "gunicorn, Werkzeug",
        b"front-end-https": "Microsoft's proxies; gunicorn and Rails plugins",
        b"https": "PHP programs as HTTP_HTTPS",
        b"x-arr-ssl": "IIS and Azure",
        b"fastly-ssl": "Fastly",
        b"cf-visitor": "Cloudflare: the scheme",
        # what was asked
        b"x-host": "Symfony's and Joomla's older versions",
        b"x-http-host-override": "programs behind Apache",
        b"x-rewrite-url": "IIS; Symfony, Zend and Laravel before CVE-2018-14773",
        # for us, or for nobody
        b"proxy": "would be HTTP_PROXY in a CGI program's environment (CVE-2016-5385)",
        b"proxy-authorization": "RFC 9110 §11.7.2: meant for us, and we ask for none",
        b"http2-settings": "RFC 9113 §3.1: h2c is not offered",
    }
)
"""Lower-case names, and who would believe them."""

CLAIM_PREFIXES: Final[Mapping[bytes, str]] = MappingProxyType(
    {
        b"x-forwarded-": "everybody; ours to write",
        b"x-real-": "nginx's usual X-Real-IP, and its like for port, host and scheme",
        b"x-original-": "URL and URI of IIS and nginx's ingress; Host, Forwarded-For and Method of others",
        b"x-remote-": "the address (IP, Addr), and user and groups for Kubernetes' API",
        b"x-envoy-": "Envoy's orders to itself, and the visitor's address",
        b"x-auth-request-": "oauth2-proxy: who has logged in",
        b"x-ms-client-principal": "Azure App Service: who has logged in",
        b"x-goog-authenticated-user-": "Google's Identity-Aware Proxy",
        b"tailscale-user-": "Tailscale's serve",
        b"x-ssl-client-": "client certificates behind nginx and HAProxy",
        b"ssl-client-": "client certificates behind Apache",
        b"cloudfront-": "Amazon CloudFront: address, country, scheme",
        b"fly-forwarded-": "Fly.io: scheme and port",
        b"x-vercel-forwarded-": "Vercel",
        b"x-vercel-ip-": "Vercel: the visitor's place",
        b"ferry-": "kept for fields of our own",
    }
)
"""The same for families of names."""
