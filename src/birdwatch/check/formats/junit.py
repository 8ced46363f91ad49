"""A report as JUnit's XML, which most CI services show: a test case a verdict."""

from typing import Final
from xml.etree import ElementTree as ET

from birdwatch.check.formats.rows import rows
from birdwatch.check.report import Exit, Report

__all__ = ["write"]

_TAGS: Final = {"drifting": "failure", "error": "error", "no data": "skipped"}


def write(report: Report) -> str:
    """Write a report as JUnit's XML.

    A verdict that does not decide is skipped or passes. An inconclusive check has an error of its own, since a service that
    counts failures and errors would take it for a pass.
    """
    found = rows(report)
    suite = ET.Element("testsuite", name="birdwatch check")
    for row in found:
        case = ET.SubElement(suite, "testcase", classname=f"birdwatch.{row.rule}", name=f"{row.rule}: {row.of}")
        tag = _TAGS.get(row.status)
        if tag is not None:
            said = ET.SubElement(case, tag, message=row.reason)
            said.text = "\n".join(row.because)
        elif row.status != "ok":
            ET.SubElement(case, "skipped", message=f"decides nothing: {row.reason}")
    if report.exit is Exit.INCONCLUSIVE:
        case = ET.SubElement(suite, "testcase", classname="birdwatch.check", name="there is enough to judge by")
        ET.SubElement(case, "error", message=f"inconclusive: {report.reason}")
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("tests", str(len(suite.findall("testcase"))))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
