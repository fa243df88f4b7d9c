"""Draws the README's pictures from a finished run: ``python docs/draw.py runs/demo``."""

import argparse
from pathlib import Path

import vl_convert

from tersely.dynamics.log import log_records
from tersely.report.charts.figures import draw_budget_curve
from tersely.report.charts.training import draw_training
from tersely.report.pages.run import measure, read_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a finished run folder")
    run = read_run(parser.parse_args().run)
    measured = measure(run)
    training = draw_training(
        log_records(run.steps),
        stages=measured.stages,
        evaluations=measured.points,
        alarms=run.alarms,
    )
    training["concat"] = training["concat"][:2]  # length, accuracy
    pictures = {"budgets": draw_budget_curve(measured.overall), "training": training}
    for name, specification in pictures.items():
        png = vl_convert.vegalite_to_png(specification, scale=1.5)
        (Path(__file__).parent / f"demo-{name}.png").write_bytes(png)


if __name__ == "__main__":
    main()
