"""The dashboard: `birdwatch dashboard` (or `streamlit run` on this file) opens it over the store that the tail writes."""

from pathlib import Path
from typing import Final

import streamlit as st
from view import choose

PAGES: Final = {
    "overview": ("Overview", "flutter_dash"),
    "latency": ("Latency", "timer"),
    "scores": ("Scores", "show_chart"),
    "canary": ("Canary", "compare_arrows"),
    "selection": ("Selection", "alt_route"),
    "deployments": ("Deployments", "rocket_launch"),
    "alerts": ("Alerts", "notifications"),
    "streams": ("Streams", "water"),
}

st.set_page_config(page_title="Birdwatch", page_icon=str(Path(__file__).with_name("icon.svg")), layout="wide")

page = st.navigation(
    [
        st.Page(f"{name}.py", title=title, icon=f":material/{icon}:", default=name == "overview")
        for name, (title, icon) in PAGES.items()
    ],
    position="top",
)
st.title(page.title, anchor=False)
choose()
page.run()
