"""HTML pages from Jinja2 templates. Python code holds the data, the templates hold the markup.

Each package keeps its templates in a `templates` folder beside the code. All pages extend
`core/templates/page.html.j2`, which has the style for light and dark, and share the macros of
`core/templates/tables.html.j2`. A report needs no script and no other file.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def environment() -> "Environment":
    """The Jinja2 environment. Template names are paths inside the package `hafs`; every value is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("hafs", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def render(template: str, **facts: Any) -> str:
    """Fill in a template.

    Args:
        template: Its path inside the package, such as `data/templates/data_report.html.j2`.
        facts: What the template names. Text is escaped; it cannot become markup.

    Raises:
        jinja2.TemplateError: The template does not exist, or names a fact that is missing.
    """
    return environment().get_template(template).render(facts)
