"""What every page shares: layout, navigation, forms that only our pages can send, errors as pages, what may be loaded.

A new page of a project is three things (`versions.py` is the example to follow):

    @pages.get("/projects/<int:project>/curve")                   # 1. a file here, imported by `backend.web.app`
    def curve(project: int) -> str:
        check(project)                                            # 404 for what is not connected
        return page("curve.html", project=project, curve=curve_of(project))

    PROJECT_TABS["pages.curve"] = "Curve"                         # 2. a line in PROJECT_TABS below

    {% extends "layout.html" %}                                   # 3. a template
    {% block title %}Curve{% endblock %}
    {% block live %} ... {% endblock %}                           #    asked for again every two seconds, and patched in
    {% block main %} ... {% endblock %}                           #    what stays as it is

`curve_of` is the plain function behind an API route (`backend.web.api.base`): a page shows nothing that the API lacks.
`ui` (parts/ui.html) and `chart` (parts/chart.html) are macros that every template has without importing them:

    {{ ui.figure("mAP", "0.512", "0.47 to 0.55") }}               a number with its name
    {% call ui.table(["Class", "AP|number"]) %}<tr>...{% endcall %}   also "|unseen"
    {% call ui.card("Title") %} ... {% endcall %}, {% call ui.empty("Nothing yet") %} what to do next {% endcall %}
    {{ ui.button(url_for(...), "Retrain", token, "main") }}       a form; add "confirm" to what cannot be undone
    {{ chart.range(low, value, high) }}                           an interval in a table's cell
    {{ chart.lines(plot) }}                                       a `charts.Plot`: lines with bands, and a table

Plots are SVG that the server draws: a few hundred bytes that follow the theme and need no script. plotly's script alone
has 4.8 MB.

A change is a POST whose form holds `token`, which is checked before the route; it ends with `done(line, endpoint)`.
There are no inline scripts and styles: browsers would refuse them.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as Answer

from backend.web.access import SAFE
from backend.web.api.projects import studio_url
from backend.web.faults import Fault, told
from backend.web.pages import words
from backend.web.pages.tokens import Tokens
from backend.web.service import service

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
PROJECT_TABS = {
    "pages.project": "Summary",
    "pages.versions": "Versions",
    "pages.order": "Ranking",
    "pages.corrections": "Corrections",
    "pages.curve": "Curve",
    "pages.agent": "Agent",
    "pages.jobs": "Jobs",
    "pages.changes": "Changes",
}
"""endpoint -> what its tab is called, from left to right; each is shown where the endpoint exists"""

pages = Blueprint("pages", __name__, url_prefix="/ui", template_folder="templates", static_folder="static")
for _name in words.FILTERS:
    pages.add_app_template_filter(words.FILTERS[_name], _name)


def page(template: str, **shown: Any) -> Response:
    """A page, or with ?part=live only its live block, if it has one: what the script asks for every two seconds."""
    if request.args.get("part") != "live":
        return make_response(render_template(template, **shown))
    found = current_app.jinja_env.get_or_select_template(template)
    if "live" not in found.blocks:
        return make_response("")
    current_app.update_template_context(shown)
    return make_response("".join(found.blocks["live"](found.new_context(shown))))


def done(said: str, endpoint: str, **values: Any) -> Answer:
    """After a change: to another page, which says what was done."""
    return redirect(url_for(endpoint, **values, said=tokens().say(said)), 303)


def tokens() -> Tokens:
    """Of whoever asks."""
    return Tokens(service().settings)


@pages.before_request
def _only_our_forms() -> None:
    if request.method not in SAFE and not tokens().is_ours(request.form.get("token", "")):
        raise Fault(403, "the page was open for too long, or is not ours: go back, load it again, and press once more")


@pages.app_context_processor
def _for_templates() -> dict[str, Any]:
    if request.blueprint not in ("pages", "api_docs"):
        return {}
    environment = current_app.jinja_env
    views = current_app.view_functions
    return {
        "ui": environment.get_template("parts/ui.html").module,
        "chart": environment.get_template("parts/chart.html").module,
        "token": tokens().form(),
        "said": tokens().said(request.args.get("said", "")),
        "tabs": {endpoint: name for endpoint, name in PROJECT_TABS.items() if endpoint in views},
        "studio": studio_url(service().settings),
        "abouts": service().abouts.known,
    }


@pages.after_request
def policy(response: Response) -> Response:
    """What a browser may load and run: nothing but what lies here."""
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Referrer-Policy"] = "same-origin"
    return response


@pages.errorhandler(Exception)
def fault(error: Exception) -> Response:
    """A page that says what to do, with a way back; for the script one line."""
    status, line, headers = told(error)
    live = request.args.get("part") == "live"
    response = make_response(line if live else render_template("error.html", status=status, line=line))
    response.status_code = status
    response.headers.update(headers)
    if live:
        response.mimetype = "text/plain"
    return response


@pages.route("/<path:rest>", methods=["GET", "POST"])
def nowhere(rest: str) -> Response:  # noqa: ARG001
    """An address that is none."""
    raise Fault(404, "there is no such page")
