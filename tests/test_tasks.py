"""One row per task: what the rows name exists."""

import pytest
from helpers import REPOSITORY

from benchmark.config.load import load_config
from benchmark.config.names import CONFIGS, list_leaves
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


@pytest.mark.parametrize("name", TASKS)
def test_the_default_data_are_those_of_one_of_its_configs(name, tmp_path):
    configs = [load_config(path, data_root=tmp_path) for path in list_leaves()]
    assert TASKS[name].data in {cfg.dataset_name for cfg in configs if cfg.task == name}
