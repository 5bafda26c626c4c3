"""Write the files of this folder, and docs/metrics.md, from the code: ``python schemas/generate.py``."""  # noqa: INP001 - a script beside its files, not a package

from pathlib import Path

from detector.commands.schema import settings_document
from detector.encoders import schema_documents
from detector.telemetry import metrics_page

FOLDER = Path(__file__).parent


def main() -> None:
    """Write every document beside this script, and the page of metrics."""
    documents = {**schema_documents(), "settings.v1.json": settings_document(), "../docs/metrics.md": metrics_page()}
    for name, text in documents.items():
        path = FOLDER / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
