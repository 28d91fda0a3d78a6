"""New containers with the data of before: after `down`, and of other images under the same names, as a build makes."""

from faults.compose.report import Report
from faults.compose.traffic import Traffic
from testkit.compose_stack import LONG_RUNNING, ComposeStack


def run(stack: ComposeStack, traffic: Traffic, report: Report) -> None:
    """All three images at once; the old ones are put back."""
    with report.check("`down`, then `up`: data, keys and sites are kept") as check:
        stack.compose("down")
        stack.up()
        traffic.post()
        traffic.wait_for_rows()
        check.said = "healthy, every acknowledged event a row"
    images = {one["image"] for one in stack.services.values()}
    before = {service: stack.inspect(service)["Image"] for service in LONG_RUNNING}
    old = {image: stack.engine.docker("image", "inspect", "--format", "{{.Id}}", image) for image in images}
    with report.check("other images under the same names, then `up`: data, keys and sites are kept") as check:
        for image in images:
            stack.engine.build(f"FROM {image}\nLABEL upgraded=yes\n", image)
        stack.up()
        after = {service: stack.inspect(service)["Image"] for service in LONG_RUNNING}
        assert not set(before.values()) & set(after.values()), "a service runs its old image"
        traffic.post()
        traffic.wait_for_rows()
        check.said = f"{len(images)} images, {len(after)} new containers, every acknowledged event a row"
    for image, identifier in old.items():
        stack.engine.docker("tag", identifier, image)
