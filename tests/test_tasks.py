"""One row per task: what the rows name exists."""

import pytest
from helpers import REPOSITORY

from benchmark.config.names import CONFIGS, DATA, is_template
from benchmark.config.sources import read
from benchmark.reporting.paper.tables import TABLES, table_task
from benchmark.tasks import TASKS


@pytest.mark.parametrize("name", TASKS)
def test_what_a_row_names_is_there(name):
    task = TASKS[name]
    assert (REPOSITORY / "tools" / task.tool).is_file()
    assert (CONFIGS / "_base_" / task.demo).is_file()
    assert set(task.tables) <= TABLES.keys()
    assert all(table_task(number) == name for number in task.tables)


def test_no_table_is_of_two_tasks():
    numbers = [number for task in TASKS.values() for number in task.tables]
    assert len(numbers) == len(set(numbers))


def test_the_default_data_are_those_of_one_of_its_templates():
    templates = [read(path, {}) for path in (*CONFIGS.glob("*.py"), *DATA.glob("*.py")) if is_template(path)]
    taken = {(cfg.get("task"), cfg.get("dataset_name")) for cfg in templates}
    assert {(name, task.data) for name, task in TASKS.items()} <= taken
