"""The whole robot: `ros2 launch react_ros avatar.launch.py`; processes and arguments from react_ros/bringup.py."""

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
from react_ros.package import CONFIGURATION_ERROR


def _end_on_configuration_error(event, context):
    if event.returncode == CONFIGURATION_ERROR:
        return [Shutdown(reason=f"{event.process_name} has an invalid configuration")]
    return None


def _nodes(context):
    chosen = {a.name: LaunchConfiguration(a.name).perform(context) for a in bringup.ARGUMENTS}
    actions = []
    for process in bringup.processes(chosen):
        # value_type: launch_ros would otherwise parse the string "0" as a number.
        values = {name: ParameterValue(v, value_type=type(v)) for name, v in process.parameters.items()}
        node = Node(
            package="react_ros",
            executable=process.executable,
            namespace=process.namespace,
            arguments=list(process.arguments),
            additional_env=process.environment,
            parameters=[values, *process.parameter_files],
            remappings=list(process.remappings.items()),
            output="screen",
            respawn=True,
            respawn_delay=0.2,
        )
        actions += [RegisterEventHandler(OnProcessExit(target_action=node, on_exit=_end_on_configuration_error)), node]
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
