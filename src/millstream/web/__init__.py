"""HTTP as an author sees it: the request, the response to come, proxies, negotiation and problems."""
