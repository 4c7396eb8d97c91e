"""Prints a plan: the parts of the memory, the duration, and what fits instead."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hafs.planning.fits import Fit
from hafs.planning.memory import adapted, adapted_experts
from hafs.planning.plan import Plan, gib, spell

COLOURS = {"feasible": "green", "marginal": "yellow", "infeasible": "bold red"}


def show(plan: Plan, console: Console) -> None:
    """Print a whole plan."""
    asked = plan.asked
    console.print(Text(f"{asked.model}, {asked.quant}, {asked.adapter} on {asked.hardware.title}", style="bold"))
    console.print(_memory(plan))
    for name, words in facts(plan).items():
        console.print(Text(f"{name:<10} {words}"), soft_wrap=True)


def _memory(plan: Plan) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("memory")
    table.add_column("GiB", justify="right")
    table.add_column("", style="dim", overflow="fold")
    for term in plan.terms:
        table.add_row(term.name, gib(term.bytes), term.why)
    missing = plan.headroom < 0
    room = f"{gib(plan.total - plan.capacity)} GiB too much" if missing else f"{plan.headroom:.0%} headroom"
    table.add_row(
        Text("total", style="bold"),
        Text(gib(plan.total), style="bold"),
        Text(f"of {gib(plan.capacity)} GiB, {room}: {plan.verdict}", style=COLOURS[plan.verdict]),
    )
    return table


def facts(plan: Plan) -> dict[str, str]:
    """The facts of a plan that are not in its table, by subject."""
    asked, spent = plan.asked, plan.duration
    low, usual, high = asked.hardware.efficiency
    found = {
        "model": f"{asked.model}: {asked.shapes.parameters:,} parameters, {plan.trained:,} in training",
        "precision": asked.precision,
        "row": f"{plan.row.tokens:,} tokens per micro-batch: {plan.micro_batch_why}",
        "tokens": f"{spent.tokens:,} in {spent.steps:,} steps; {asked.dataset}: {asked.load.source}",
        "time": f"{spell(spent.usual)} ({spell(spent.best)} to {spell(spent.worst)}), "
        f"{spent.tokens_per_second:,.0f} tokens/s in training: {spent.flops / 1e12:,.0f} TFLOP at {usual:.0%} "
        f"({low:.0%} to {high:.0%}) of the peak; {plan.constants.source}",
        "energy": f"{plan.kwh(spent.usual):.2g} kWh at {asked.hardware.watts:g} W",
    }
    if asked.shapes.expert_parameters and asked.setup.rank is not None:
        found["lora"] = reach(plan)
    price = asked.hardware.usd_per_hour
    if price is not None:
        low_usd, usual_usd, high_usd = (price * t / 3600 for t in (spent.best, spent.usual, spent.worst))
        found["cost"] = f"${usual_usd:.2f} (${low_usd:.2f} to ${high_usd:.2f}) at ${price:g} an hour"
    return found


def reach(plan: Plan) -> str:
    """Which parts of a mixture of experts get an adapter."""
    shapes, setup = plan.asked.shapes, plan.asked.setup
    linear = sorted({leaf.name.rsplit(".", 1)[-1] for leaf in adapted(shapes, setup)})
    more = {leaf.name.split(".*.")[-1]: leaf.times * each for leaf, each in adapted_experts(shapes, setup)}
    said = [", ".join(linear), *(f"{name} ({each * (setup.rank or 0):,} parameters)" for name, each in more.items())]
    if not any(leaf.kind == "experts" for leaf, _ in adapted_experts(shapes, setup)):
        names = sorted({leaf.name.split(".*.")[-1] for leaf in shapes.of("experts")})
        how = (
            "which are quantized"
            if setup.quantized_experts
            else f"+adapter.target_parameters=[{','.join(names)}] adds them"
        )
        said.append(f"not the experts ({how})")
    return ", ".join(filter(None, said))


def show_fits(fits: Sequence[Fit], console: Console) -> None:
    """Print what fits instead, as overrides to add to the command."""
    if not fits:
        console.print("no similar configuration fits: choose a smaller model or larger hardware")
        return
    console.print(Text("overrides that make it fit:", style="bold"))
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("overrides", overflow="fold")
    for name in ("GiB", "time", ""):
        table.add_column(name, justify="right")
    table.add_column("", style="dim", overflow="fold")
    for fit in fits:
        times = f"x{fit.times:.2g}" if fit.times < 10 else f"x{fit.times:.0f}"
        plan = fit.plan
        price = plan.usd(plan.duration.usual)
        note = fit.note or (f"${price:.2f}" if price is not None and fit.overrides[0].startswith("hardware=") else "")
        spent = spell(plan.duration.usual)
        table.add_row(Text(" ".join(fit.overrides)), f"{gib(plan.total)} of {gib(plan.capacity)}", spent, times, note)
    console.print(table)


def show_sweep(plans: Sequence[dict], console: Console) -> None:
    """Print the plans of a sweep, one per line."""
    table = Table(title="plans", title_justify="left")
    for name in ("hardware", "model", "adapter"):
        table.add_column(name)
    for name in ("GiB", "of", "headroom", "row", "time", "cost"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for plan in plans:
        cost = plan["usd"]["usual"]
        table.add_row(
            plan["hardware"]["name"],
            plan["model"],
            plan["adapter"],
            gib(plan["memory"]["total"]),
            gib(plan["hardware"]["bytes"]),
            f"{plan['memory']['headroom']:.0%}",
            f"{plan['micro_batch_tokens']:,}",
            spell(plan["seconds"]["usual"]),
            "" if cost is None else f"${cost:.2f}",
            Text(plan["verdict"], style=COLOURS[plan["verdict"]]),
        )
    console.print(table)
