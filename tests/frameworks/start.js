// Each page is told by its server where the collector is.
export const options = () => ({ ...JSON.parse(document.getElementById("options").textContent), views: true });
