"""Scenes: broken plugins."""

from pathlib import Path

from tests.environments import install_beside, visible
from tests.polling import until
from tests.trouble.scenes import scene
from tests.trouble.stage import Stage

COUNT = """
    {imports}
    from poolmgr.actions.base import Action, NoFields

    class Count(Action[NoFields]):
        '''Count.'''
        takes = NoFields
        answers = ("count",)

        def run(self, request, context):
            return {{"count": 1 / 0}}
"""


def installed(stage: Stage, name: str, imports: str = "") -> Path:
    """Install a package with the action COUNT and return its folder."""
    module = name.replace("-", "_")
    return install_beside(
        stage.folder,
        name,
        COUNT.format(imports=imports),
        poolmgr__actions=f"COUNT = {module}:Count",
    )


@scene("action 'COUNT' is refused: it is provided by")
def two_of_a_name_plugins(stage: Stage) -> str:
    folders = [installed(stage, "count-one"), installed(stage, "count-two")]
    options = stage.at(stage.dead_address())
    process = stage.worker(*options, **visible(*folders))
    assert process.exit_code() == 1
    return "".join(process.lines)


@scene("action 'COUNT' cannot be loaded: ModuleNotFoundError:")
def broken_plugin(stage: Stage) -> str:
    folder = installed(stage, "count-one", "import nothing_of_this_name")
    options = stage.at(stage.dead_address())
    process = stage.worker(*options, **visible(folder))
    process.wait_for("cannot be loaded")
    return "".join(process.lines)


@scene("reason=action Count: ZeroDivisionError:")
def failed_plugin(stage: Stage) -> str:
    folder = installed(stage, "count-one")
    options = stage.at(str(stage.job_server().address))
    process = stage.worker(*options, **visible(folder))
    process.wait_for("registered")
    stage.run(*options, "submit", '{"action": "COUNT"}')
    until(lambda: any("outcome=FAIL" in line for line in process.lines))
    return "".join(process.lines)
