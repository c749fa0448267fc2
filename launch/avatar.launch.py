"""The whole robot: `ros2 launch react_ros avatar.launch.py`; processes and arguments from react_ros/bringup.py."""

import atexit
import os

from launch.actions import (
    DeclareLaunchArgument,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription
from react_ros import bringup
from react_ros.package import CONFIGURATION_ERROR, package_environment
from react_ros.supervision.heartbeats import VARIABLE
from react_ros.supervision.supervisor import HangGuard


def _on_exit(guard):
    """Ends the launch where a node cannot be configured at its start; later, a device may be missing that was there."""
    configured = []

    def end(event, context):
        if guard.ended(event.pid):
            configured.append(event.pid)
        if event.returncode == CONFIGURATION_ERROR and not configured:
            return [Shutdown(reason=f"{event.process_name} has an invalid configuration")]
        return None

    return end


def _nodes(context):
    chosen = {a.name: LaunchConfiguration(a.name).perform(context) for a in bringup.ARGUMENTS}
    processes = bringup.processes(chosen)
    if chosen["config"]:
        from react_ros.nodes.parameter_file import check_parameter_file

        check_parameter_file(chosen["config"], chosen["namespace"])
    guard = HangGuard(lambda line: print(line, flush=True))
    atexit.register(guard.close)
    actions = []
    for process in processes:
        # value_type: launch_ros would otherwise parse the string "0" as a number.
        values = {name: ParameterValue(v, value_type=type(v)) for name, v in process.parameters.items()}
        node = Node(
            package="react_ros",
            executable=process.executable,
            namespace=process.namespace,
            arguments=list(process.arguments),
            parameters=[values, *process.parameter_files],
            remappings=list(process.remappings.items()),
            additional_env={
                VARIABLE: str(guard.folder.path),
                **package_environment(os.environ),
                **process.environment,
            },
            output="screen",
            respawn=True,
            respawn_delay=0.2,
        )
        actions += [RegisterEventHandler(OnProcessExit(target_action=node, on_exit=_on_exit(guard))), node]
    return actions


def generate_launch_description():
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(
                    a.name, default_value=a.default, description=a.description, choices=list(a.choices) or None
                )
                for a in bringup.ARGUMENTS
            ),
            *(SetEnvironmentVariable(name, value) for name, value in bringup.environment().items()),
            OpaqueFunction(function=_nodes),
        ]
    )
