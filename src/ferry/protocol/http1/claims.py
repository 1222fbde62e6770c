"""Fields that are dropped from a visitor's request: claims about the visitor, its connection and its request.

For each of these fields there is a framework or a proxy that believes it. Behind Ferry only the gateway knows these facts,
and states them in `X-Forwarded-*` and `Forwarded`. So the fields are dropped, in any spelling that CGI, WSGI or Rack reads
as the same variable.

Not among them, on purpose:

* `X-HTTP-Method-Override` and its like. The sender could have used that method itself: every method that the field may
  name passes here.
* `Via` and `CDN-Loop`, which tell of other proxies.
* `X-User`, `X-User-Id`, `X-Email`, `X-Role`, `X-Auth-User` and `X-Auth-Token`. Clients of an application's own API send
  them together with a secret (Rocket.Chat, Swift, Apache VCL). A service that believes such a name alone has a proxy that
  logs people in; that proxy is between the tunnel and the service, and overwrites the field. Names that no API uses
  (`X-Authenticated-User`, `X-Authentik-Username`) are dropped.
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
        b"remote-addr": "Tailscale's nginx-auth; Java programs, which ask for a field REMOTE_ADDR",
        b"remote-port": "Tailscale's nginx-auth",
        b"http-x-forwarded": "Java programs that ask for a field as PHP calls its variable",
        b"http-x-cluster-client-ip": "likewise",
        b"http-client-ip": "likewise",
        b"http-forwarded": "likewise",
        b"http-forwarded-for": "likewise",
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
        b"cdn-src-ip": "CDNetworks",
        b"ali-cdn-real-ip": "Alibaba Cloud's CDN",
        b"eo-client-ip": "Tencent's EdgeOne",
        b"eo-connecting-ip": "likewise",
        b"appengine-user-ip": "request-ip, for Google App Engine",
        b"x-azure-clientip": "Azure Front Door",
        b"x-azure-socketip": "Azure Front Door",
        b"x-nf-client-connection-ip": "Netlify",
        # the identity of the visitor
        b"remote-user": "Authelia and Django's RemoteUserMiddleware behind a proxy",
        b"remote-groups": "Authelia",
        b"remote-name": "Authelia",
        b"remote-email": "Authelia",
        b"x-anonymous-consumer": "Kong: whether anybody has logged in",
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
        b"x-https": "mod_rpaf, mod_wsgi",
        b"x-port": "mod_rpaf",
        b"x-proto": "WordPress behind a proxy (Really Simple SSL)",
        b"x-protocol": "Flask and PHP programs behind a load balancer",
        b"x-ssl": "Pantheon",
        b"x-client-scheme": "Alibaba Cloud's CDN",
        b"x-client-proto": "likewise, in its programs' configurations",
        b"ssl-offloaded": "Magento 2 as shipped",
        b"x-arr-ssl": "IIS and Azure",
        b"fastly-ssl": "Fastly",
        b"cf-visitor": "Cloudflare: the scheme",
        # the request
        b"x-host": "Symfony's and Joomla's older versions",
        b"x-http-host-override": "programs behind Apache",
        b"x-rewrite-url": "IIS; Symfony, Zend and Laravel before CVE-2018-14773",
        b"x-request-uri": "PHP, Django and .NET programs that are mounted behind a proxy",
        b"script-name": "gunicorn: what it takes off the path (benoitc/gunicorn#2650)",
        b"path-info": "gunicorn, beside it",
        b"x-traversal-path": "Plack and WSGIProxy",
        b"x-script-name": "mod_wsgi, and the usual recipe for Flask below a prefix",
        # which files are sent, and from where
        b"x-accel-mapping": "Rack::Sendfile (CVE-2025-61780), Plack, Symfony: a file's path as nginx would find it",
        b"x-sendfile-type": "the same, and GitLab: that a proxy in front sends the file itself",
        # no known server trusts it; scanners try it, and the name has no other meaning
        b"x-custom-ip-authorization": "an address that may come in",
        b"x-originally-forwarded-for": "the visitor's address",
        b"x-forwarder-for": "likewise",
        b"request-uri": "what was asked",
        b"x-wsgi-url-scheme": "how it came",
        # for this gateway, or without a meaning
        b"proxy": "would be HTTP_PROXY in a CGI program's environment (CVE-2016-5385)",
        b"proxy-authorization": "RFC 9110 §11.7.2: meant for us, and we ask for none",
        b"http2-settings": "RFC 9113 §3.1: h2c is not offered",
    }
)
"""Lower-case names, and the software that believes them."""

CLAIM_PREFIXES: Final[Mapping[bytes, str]] = MappingProxyType(
    {
        b"x-forwarded-": "everybody; ours to write",
        b"x-forward-": "programs and proxies that write X-Forward-For and X-Forward-Proto",
        b"forwarded-": "request-ip and PHP programs: Forwarded-For, -Host, -Proto",
        b"http-x-forwarded-": "Java programs that ask for a field HTTP_X_FORWARDED_FOR",
        b"x-real-": "nginx's usual X-Real-IP, and its like for port, host and scheme",
        b"x-original-": "URL and URI of IIS and nginx's ingress; Host, Forwarded-For and Method of others",
        b"x-remote-": "the address (IP, Addr), and user and groups for Kubernetes' API",
        b"x-envoy-": "Envoy's orders to itself, and the visitor's address",
        b"x-auth-request-": "oauth2-proxy: who has logged in",
        b"x-webauth-": "Grafana and Gitea behind a proxy that logs people in: user, name, role",
        b"x-authenticated-": "Kong: Userid and Scope; User of Blue Coat's and other proxies that log people in",
        b"x-consumer-": "Kong: whose key it was",
        b"x-authentik-": "authentik: who has logged in",
        b"x-appengine-": "Google App Engine: address, place, and that a cron job or queue asks",
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
"""The same for prefixes of names."""
