"""The add-on's face: settings, operators, panels, and what the viewport shows."""
