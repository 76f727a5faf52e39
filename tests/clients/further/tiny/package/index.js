module.exports = "tiny";
