// The stock position of an item as one text: app, item, options with sorted keys, location.

const sorted = (value) => {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
};

export const skuOf = ({ catalogReference: { appId, catalogItemId, options }, locationId }) =>
  [appId, catalogItemId, JSON.stringify(sorted(options ?? {})), locationId ?? ''].join('/');
