"""The privacy kit: drafts of papers that a clinic needs, made from the settings of the site as they are."""
