"""The InferenceKey platform, simulated over HTTP: both planes, in memory or kept in a file.

For people who want to try the SDK or the operator without an account, and for tests, the demo and
benchmarks. It keeps the platform's contract, including what is awkward about it: a create is not
idempotent, the list is the only read, the server may spell things its own way. What the contract leaves
open can be chosen (`settings`), and what goes wrong in real life can be asked for (`faults`).

- On the command line: `inferencekey-simulator serve --help`.
- In a program: `app.serving(Platform())` in an event loop, `app.background()` without one; both give a URL.
- From outside: the HTTP calls of `admin_api`, or `admin.Admin(url)`.

The parts, from the inside out: `rules` (what is accepted), `fields` (what the platform fills in), `inventory`
(the rows), `lists` (what a list shows, with `lag` and `pages`), `readiness`, `credentials`, `faults` and
`journal` (the record of requests) make up `platform.Platform`, which knows nothing of HTTP. `control_plane`,
`data_plane` (with `answers`) and `admin_api` are its routes, `streams` the open readiness streams, `gate`,
`interference` and `dates` what every request passes through, `app` puts all of it together. `state_file`
keeps a platform in a file.
"""
